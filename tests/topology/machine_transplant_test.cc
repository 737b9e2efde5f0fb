// Which device of a virtual machine is which of the bare one, and when nobody can know.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

#include "accl/base/error.h"
#include "topology/machine/nccl_reader.h"
#include "topology/machine/pairing.h"
#include "topology/machine/transplant.h"

namespace accl::topology {
namespace {

std::string gpu(const char* bus_id, const std::string& links = "") {
  return fmt::format(
      "<pci busid=\"{}\" class=\"0x120000\" vendor=\"0x1002\" device=\"0x74a1\"><gpu "
      "gcn=\"gfx942\">{}</gpu></pci>",
      bus_id, links);
}

std::string nic(const char* bus_id, const char* guid, const char* device = "0x1021") {
  return fmt::format(
      "<pci busid=\"{0}\" class=\"0x020700\" vendor=\"0x15b3\" device=\"{2}\" "
      "subsystem_vendor=\"0x15b3\" subsystem_device=\"0x0101\"><nic><net name=\"at {0}\" "
      "guid=\"{1}\"/></nic></pci>",
      bus_id, guid, device);
}

Machine machine(const std::string& name, const std::string& inside) {
  return read_nccl_text("<system version=\"2\"><cpu numaid=\"0\">" + inside + "</cpu></system>",
                        name);
}

std::string bare_text() {
  return "<pci busid=\"0000:10:00.0\" class=\"0x060400\">" + gpu("0000:11:00.0") +
         nic("0000:12:00.0", "0xa") + "</pci><pci busid=\"0000:20:00.0\" class=\"0x060400\">" +
         gpu("0000:21:00.0") + nic("0000:22:00.0", "0xb") + "</pci>";
}

std::string nic_of_first(const Transplant& result) {
  const Machine both = read_nccl_text(result.nccl_text, "both.xml");
  const Pair pair = pair_devices(both).at(0);
  EXPECT_EQ(pair.path, PathType::pix);
  return both.nic(pair.nic).name;
}

std::string refusal(const Machine& bare, const Machine& vm) {
  try {
    transplant(bare, vm);
  } catch (const Error& error) {
    return error.what();
  }
  return "none";
}

TEST(Transplant, GuidsOutrankOrder) {
  const std::string gpus = gpu("0000:00:05.0") + gpu("0000:00:06.0");
  const Machine bare = machine("bare.xml", bare_text());
  const Machine crossed =
      machine("vm.xml", gpus + nic("0000:00:07.0", "0xb") + nic("0000:00:08.0", "0xa"));
  EXPECT_EQ(nic_of_first(transplant(bare, crossed)), "at 0000:00:08.0");
  const Machine strangers =
      machine("vm.xml", gpus + nic("0000:00:07.0", "0xc") + nic("0000:00:08.0", "0xd"));
  EXPECT_EQ(nic_of_first(transplant(bare, strangers)), "at 0000:00:07.0");
}

TEST(Transplant, VirtualFunctionsMatchBySubsystem) {
  const Machine bare = machine("bare.xml", bare_text());
  const std::string gpus = gpu("0000:00:05.0") + gpu("0000:00:06.0");
  const Machine vm = machine(
      "vm.xml", gpus + nic("0000:01:00.0", "0xc", "0x101e") + nic("0000:02:00.0", "0xd", "0x101e"));
  EXPECT_EQ(nic_of_first(transplant(bare, vm)), "at 0000:01:00.0");
}

TEST(Transplant, RefusesWhatItCannotKnow) {
  const Machine bare = machine("bare.xml", bare_text());
  const std::string gpus = gpu("0000:00:05.0") + gpu("0000:00:06.0");
  const std::string nics = nic("0000:00:07.0", "0xc") + nic("0000:00:08.0", "0xd");
  EXPECT_EQ(refusal(bare, machine("vm.xml", gpus + nics)), "none");
  EXPECT_NE(refusal(bare, machine("vm.xml", gpu("0000:00:05.0") + nics)).find("2 GPUs"),
            std::string::npos);
  EXPECT_NE(refusal(bare, machine("vm.xml",
                                  gpus + nic("0000:00:07.0", "0xa") + nic("0000:00:08.0", "0xd")))
                .find("same GUIDs"),
            std::string::npos);
  EXPECT_NE(refusal(bare, machine("vm.xml", gpus + nic("0000:00:07.0", "0xc") +
                                                "<pci busid=\"0000:00:08.0\" class=\"0x020000\" "
                                                "vendor=\"0x1d0f\" device=\"0xefa0\"/>"))
                .find("in its place"),
            std::string::npos);
}

// Three GPUs in a row: whoever is in the middle must be so on both sides.
TEST(Transplant, LinksContradictAWrongOrder) {
  const auto row = [](const char* a, const char* middle, const char* c) {
    const std::string link = "<xgmi target=\"{}\" count=\"1\"/>";
    return gpu(a, fmt::format(fmt::runtime(link), middle)) + gpu(middle) +
           gpu(c, fmt::format(fmt::runtime(link), middle));
  };
  const Machine bare = machine("bare.xml", row("0000:01:00.0", "0000:02:00.0", "0000:03:00.0"));
  const Machine same = machine("vm.xml", row("0001:00:00.0", "0002:00:00.0", "0003:00:00.0"));
  const Machine other = machine("vm.xml", row("0002:00:00.0", "0001:00:00.0", "0003:00:00.0"));
  EXPECT_EQ(refusal(bare, same), "none");
  EXPECT_NE(refusal(bare, other).find("links to each other"), std::string::npos);
}

}  // namespace
}  // namespace accl::topology
