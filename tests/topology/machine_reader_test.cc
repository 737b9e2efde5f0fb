// The traps of section "formats", each in a few lines of XML.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

#include "accl/base/error.h"
#include "topology/machine/hwloc_reader.h"
#include "topology/machine/nccl_reader.h"
#include "topology/machine/nccl_writer.h"
#include "topology/machine/pairing.h"
#include "topology/machine/path.h"
#include "topology/machine/report.h"
#include "topology/machine/warnings.h"

namespace accl::topology {
namespace {

std::string pci(const char* bus_id, const char* type, const std::string& inside = "") {
  return fmt::format(
      "<object type=\"PCIDev\" pci_busid=\"{}\" pci_type=\"{} [0000:0000] 00\" "
      "pci_link_speed=\"15.75\">{}</object>\n",
      bus_id, type, inside);
}

std::string verbs(const char* name, const char* infos = "") {
  return fmt::format("<object type=\"OSDev\" name=\"{}\" osdev_type=\"3\">{}</object>", name,
                     infos);
}

std::string bridge(const char* bus_id, const std::string& inside) {
  return fmt::format(
      "<object type=\"Bridge\" bridge_type=\"1-1\" depth=\"1\" bridge_pci=\"0000:[01-ff]\" "
      "pci_busid=\"{}\" pci_type=\"0604 [1000:c010] [0000:0000] 00\">{}</object>\n",
      bus_id, inside);
}

std::string host_bridge(const std::string& inside) {
  return "<object type=\"Bridge\" bridge_type=\"0-1\" depth=\"0\" bridge_pci=\"0000:[00-ff]\">" +
         inside + "</object>\n";
}

// Two packages of one processor and one NUMA node each.
std::string two_packages(const std::string& first, const std::string& second,
                         const std::string& nowhere = "", const std::string& version = "2.0") {
  const auto package = [](int index, int set, const std::string& inside) {
    const std::string sets = fmt::format(
        "cpuset=\"0x{0}\" complete_cpuset=\"0x{0}\" nodeset=\"0x{0}\" complete_nodeset=\"0x{0}\"",
        set);
    return fmt::format(
        "<object type=\"Package\" os_index=\"{0}\" {1} gp_index=\"{2}\">"
        "<object type=\"NUMANode\" os_index=\"{0}\" {1} gp_index=\"{3}\" local_memory=\"4096\"/>"
        "<object type=\"PU\" os_index=\"{0}\" {1} gp_index=\"{4}\"/>{5}</object>",
        index, sets, 10 + index, 20 + index, 30 + index, inside);
  };
  return "<topology version=\"" + version +
         "\"><object type=\"Machine\" os_index=\"0\" cpuset=\"0x3\" complete_cpuset=\"0x3\" "
         "allowed_cpuset=\"0x3\" nodeset=\"0x3\" complete_nodeset=\"0x3\" allowed_nodeset=\"0x3\" "
         "gp_index=\"1\">" +
         package(0, 1, first) + package(1, 2, second) + nowhere + "</object></topology>";
}

constexpr const char* a100 = "0302 [10de:20b0]";
constexpr const char* hdr = "0207 [15b3:101b]";

Machine read(const std::string& first, const std::string& second = "",
             const std::string& nowhere = "") {
  return read_hwloc_text(two_packages(first, second, nowhere), "test.xml");
}

PathType path_of_first(const Machine& machine) {
  return pcie_path_between(machine, machine.gpus.at(0).node, machine.nics.at(0).node);
}

std::string error_of(const std::string& text) {
  try {
    read_hwloc_text(text, "test.xml");
  } catch (const Error& error) {
    return error.what();
  }
  return "none";
}

std::string nccl_error_of(const std::string& text) {
  try {
    read_nccl_text(text, "test.xml");
  } catch (const Error& error) {
    return error.what();
  }
  return "none";
}

bool warns(const Machine& machine, const std::string& words) {
  for (const std::string& warning : warnings_of(machine, pair_devices(machine))) {
    if (warning.find(words) != std::string::npos) return true;
  }
  return false;
}

// An upstream port with a downstream port for each of both: one switch.
std::string switch_of(const std::string& gpu_slot, const std::string& nic_slot) {
  return host_bridge(bridge(
      "0000:00:01.0",
      bridge("0000:01:00.0", bridge("0000:02:00.0", gpu_slot) + bridge("0000:02:01.0", nic_slot))));
}

TEST(Paths, PortsOfASwitchAreOneSwitch) {
  const Machine machine =
      read(switch_of(pci("0000:03:00.0", a100), pci("0000:04:00.0", hdr, verbs("mlx5_0"))));
  EXPECT_EQ(path_of_first(machine), PathType::pix);
  EXPECT_TRUE(warnings_of(machine, pair_devices(machine)).empty());
}

TEST(Paths, ASwitchBelowASwitchIsPxb) {
  const Machine machine =
      read(switch_of(bridge("0000:05:00.0", bridge("0000:06:00.0", pci("0000:07:00.0", a100))),
                     pci("0000:04:00.0", hdr)));
  EXPECT_EQ(path_of_first(machine), PathType::pxb);
}

// Two root ports of one host bridge are no switch.
TEST(Paths, RootPortsMeetInTheHostBridge) {
  const Machine machine = read(host_bridge(bridge("0000:00:01.0", pci("0000:01:00.0", a100)) +
                                           bridge("0000:00:02.0", pci("0000:02:00.0", hdr))));
  EXPECT_EQ(path_of_first(machine), PathType::phb);
  EXPECT_TRUE(warns(machine, "no NIC under the same PCIe switch"));
}

TEST(Paths, NodeAndSys) {
  const std::string gpu = host_bridge(pci("0000:01:00.0", a100));
  const std::string nic = host_bridge(pci("0000:80:00.0", hdr));
  EXPECT_EQ(path_of_first(read(gpu + nic)), PathType::node);
  EXPECT_EQ(path_of_first(read(gpu, nic)), PathType::sys);
}

// hwloc_get_common_ancestor_obj compares depths, which I/O objects do not have: it loops or dies
// on devices of different depth. Ours must meet wherever both are.
TEST(Paths, DevicesOfDifferentDepthMeet) {
  const Machine machine =
      read(switch_of(bridge("0000:05:00.0", bridge("0000:06:00.0", pci("0000:07:00.0", a100))),
                     pci("0000:04:00.0", hdr)));
  const NodeId meeting = machine.graph.common_ancestor(machine.gpus[0].node, machine.nics[0].node);
  EXPECT_EQ(machine.graph.node(meeting).name, "bridge 0000:01:00.0");
  for (NodeId node = machine.gpus[0].node; node != no_node;
       node = machine.graph.node(node).parent) {
    EXPECT_NE(machine.graph.common_ancestor(node, machine.nics[0].node), no_node);
  }
}

TEST(Devices, DecoysAreNoGpus) {
  const char* const decoys[] = {"1200 [8086:0b2b]", "0300 [1a03:2000]", "0300 [102b:0522]",
                                "0403 [10de:1aef]", "0200 [8086:1521]", "1200 [1da3:1020]"};
  for (const char* decoy : decoys) {
    const Machine machine = read(host_bridge(pci("0000:01:00.0", decoy)));
    EXPECT_TRUE(machine.gpus.empty() && machine.nics.empty()) << decoy;
  }
  const char* const gpus[] = {"0302 [10de:20b0]", "0300 [10de:1db1]", "0380 [1002:66a1]",
                              "1200 [1002:74a1]", "0380 [8086:0bd5]", "0380 [1d94:55b7]"};
  for (const char* gpu : gpus) {
    EXPECT_EQ(read(host_bridge(pci("0000:01:00.0", gpu))).gpus.size(), 1u) << gpu;
  }
}

TEST(Devices, NicsByVendorClassAndVerbs) {
  const char* const nics[] = {"0207 [15b3:101b]", "0200 [15b3:101d]", "0200 [17db:0501]",
                              "0200 [1d0f:efa1]", "0208 [8086:24f0]"};
  for (const char* nic : nics) {
    EXPECT_EQ(read(host_bridge(pci("0000:01:00.0", nic))).nics.size(), 1u) << nic;
  }
  const std::string roce = pci("0000:01:00.0", "0200 [14e4:1750]", verbs("bnxt_re0"));
  EXPECT_EQ(read(host_bridge(roce)).nics.size(), 1u);
  const std::string elastic = pci("0000:01:00.0", "0200 [1d0f:ec20]");
  EXPECT_EQ(read(host_bridge(elastic)).nics.size(), 0u);
}

TEST(Devices, VirtualFunctionsBesideTheirCardAreNone) {
  const std::string card = pci("0000:41:00.0", "0207 [15b3:101b]", verbs("mlx5_0"));
  const std::string twin = pci("0000:41:00.1", "0207 [15b3:101c]", verbs("mlx5_1"));
  const Machine both = read(host_bridge(card + twin));
  ASSERT_EQ(both.nics.size(), 1u);
  EXPECT_EQ(both.nics[0].ports.size(), 1u);
  // Alone, as a virtual machine shows it, it is the NIC.
  EXPECT_EQ(read(host_bridge(twin)).nics.size(), 1u);
}

TEST(Devices, TwoFunctionsAreOneCardOfTwoPorts) {
  const Machine machine = read(host_bridge(pci("0000:01:00.0", hdr, verbs("mlx5_0")) +
                                           pci("0000:01:00.1", hdr, verbs("mlx5_1")) +
                                           pci("0000:02:00.0", a100) + pci("0000:03:00.0", a100)));
  ASSERT_EQ(machine.nics.size(), 1u);
  const auto pairs = pair_devices(machine);
  EXPECT_EQ(machine.nics[0].ports[pairs[0].port].name, "mlx5_0");
  EXPECT_EQ(machine.nics[0].ports[pairs[1].port].name, "mlx5_1");
}

TEST(Devices, OneFunctionWithTwoPorts) {
  const std::string infos =
      "<info name=\"Port1State\" value=\"1\"/><info name=\"Port2State\" value=\"4\"/>";
  const Machine machine = read(host_bridge(
      pci("0000:01:00.0", hdr, verbs("mlx4_0", infos.c_str())) + pci("0000:02:00.0", a100)));
  ASSERT_EQ(machine.nics.at(0).ports.size(), 2u);
  EXPECT_TRUE(machine.nics[0].ports[0].is_down);
  EXPECT_EQ(pair_devices(machine).at(0).port, 1u);
}

TEST(Pairing, NicsThatAreDownAreLeftOut) {
  const char* down = "<info name=\"Port1State\" value=\"1\"/>";
  const Machine machine =
      read(host_bridge(pci("0000:01:00.0", a100) + pci("0000:02:00.0", hdr, verbs("mlx5_0", down))),
           host_bridge(pci("0000:81:00.0", hdr, verbs("mlx5_1"))));
  EXPECT_EQ(machine.nic(pair_devices(machine).at(0).nic).name, "mlx5_1");
  EXPECT_TRUE(warns(machine, "mlx5_0 is not used"));
}

TEST(Warnings, DevicesWithoutNuma) {
  const std::string gpu = host_bridge(pci("0000:01:00.0", a100));
  EXPECT_TRUE(warns(read("", "", gpu), "HWLOC_PCI_LOCALITY"));
  EXPECT_FALSE(warns(read(gpu), "HWLOC_PCI_LOCALITY"));
  EXPECT_TRUE(warns(read(gpu), "No NIC found"));
  EXPECT_TRUE(warns(read(""), "No GPU found"));
}

TEST(HwlocText, EachRefusalSaysWhatAndWhere) {
  const std::string good = two_packages("", "");
  EXPECT_EQ(error_of(good), "none");
  EXPECT_NE(error_of(two_packages("", "", "", "3.0")).find("--export-xml-flags 2"),
            std::string::npos);
  EXPECT_NE(error_of("").find("empty"), std::string::npos);
  EXPECT_NE(error_of("<topology>\n<object").find("test.xml:2:"), std::string::npos);
  EXPECT_NE(error_of("<system version=\"1\"/>").find("--nccl"), std::string::npos);
  EXPECT_NE(error_of("<topology/>").find("no machine"), std::string::npos);
  EXPECT_NE(error_of("<!DOCTYPE t [<!ENTITY a \"b\">]><topology/>").find("entities"),
            std::string::npos);
  EXPECT_NE(error_of(two_packages(pci("0000:01:00.0", "0302 [10de]"), "")).find("pci_type"),
            std::string::npos);
  EXPECT_NE(error_of(two_packages(pci("no", a100), "")).find("pci_busid"), std::string::npos);
  const std::string twice = pci("0000:01:00.0", a100) + pci("0000:01:00.0", a100);
  EXPECT_NE(error_of(two_packages(host_bridge(twice), "")).find("second device"),
            std::string::npos);
  for (const char* set : {",x1", "", "0x", "0x1,1", "0xf...f", "0x123456789"}) {
    std::string text = good;
    text.replace(text.find("0x3"), 3, set);
    EXPECT_NE(error_of(text).find("cpuset"), std::string::npos) << set;
  }
  std::string deep;
  for (int i = 0; i < 5000; ++i) deep += "<a>";
  EXPECT_NE(error_of(deep), "none");
}

// hwloc leaves libxml2 a reporter in code that is then unloaded; a text that libxml2 complains of
// in a way of its own, here of its encoding, would jump there.
TEST(HwlocText, BadEncodingAfterHwloc) {
  EXPECT_EQ(error_of(two_packages("", "")), "none");
  testing::internal::CaptureStderr();
  const std::string bad = "<?xml version=\"1.0\" encoding=\"EUC-JP\"?><topology>\xff\xff\xff\xff";
  EXPECT_NE(error_of(bad).find("test.xml:1: "), std::string::npos);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(NcclText, ClassAloneIsEnough) {
  const Machine machine = read_nccl_text(
      R"(<system version="1"><cpu numaid="-1"><pci busid="ffff:ff:01.0" class="0x060400">
      <pci busid="0001:00:00.0" class="0x030200" link_speed="16 GT/s" link_width="16"/>
      <pci busid="10101:00:00.0" class="0x020700"/></pci></cpu></system>)",
      "test.xml");
  EXPECT_EQ(path_of_first(machine), PathType::pix);
  EXPECT_EQ(machine.nics[0].pci.address.domain, 0x10101u);
  EXPECT_EQ(machine.nics[0].name, "10101:00:00.0");
  EXPECT_NEAR(machine.gpus[0].pci.bytes_per_second, 31.5e9, 0.1e9);
  EXPECT_TRUE(warns(machine, "HWLOC_PCI_LOCALITY"));
}

TEST(NcclText, NvSwitchesThatNoTreeShows) {
  const std::string gpu = R"(<pci busid="0000:0{0}:00.0" class="0x030200"><gpu dev="{0}" sm="90">
      <nvlink target="fffffff:ffff:ff" count="18" tclass="0x068000"/></gpu></pci>)";
  const Machine machine = read_nccl_text("<system version=\"1\"><cpu numaid=\"0\">" +
                                             fmt::format(fmt::runtime(gpu), 1) +
                                             fmt::format(fmt::runtime(gpu), 2) + "</cpu></system>",
                                         "test.xml");
  EXPECT_EQ(to_string(path_between(machine, machine.gpus[0].node, machine.gpus[1].node)), "NV18");
}

TEST(NcclText, RefusalsSayWhatAndWhere) {
  EXPECT_NE(nccl_error_of("<topology/>").find("--hwloc"), std::string::npos);
  EXPECT_NE(nccl_error_of("<graphs/>").find("graphs"), std::string::npos);
  EXPECT_NE(nccl_error_of("<system version=\"7\"/>").find("version"), std::string::npos);
  EXPECT_NE(nccl_error_of("<system version=\"1\">\n<cpu/></system>").find("test.xml:2: "),
            std::string::npos);
  EXPECT_NE(nccl_error_of("<system version=\"1\"><cpu numaid=\"0\"><pci busid=\"x\"/></cpu>"
                          "</system>")
                .find("bus id"),
            std::string::npos);
  std::string many = "<system version=\"1\"><cpu numaid=\"0\">";
  for (int i = 0; i < 300; ++i) {
    many += fmt::format("<pci busid=\"{:04x}:00:00.0\" class=\"0x030200\"/>", i);
  }
  EXPECT_NE(nccl_error_of(many + "</cpu></system>").find("more than one server"),
            std::string::npos);
}

// 24 GPUs with all-to-all links are 24 * 23 elements more than NCCL can read.
TEST(NcclText, LinksGoBeforeTheWriterGivesUp) {
  std::string text = "<system version=\"2\"><cpu numaid=\"0\">";
  for (int i = 0; i < 24; ++i) {
    text +=
        fmt::format("<pci busid=\"0000:{:02x}:00.0\" class=\"0x120000\"><gpu gcn=\"gfx942\">", i);
    for (int j = 0; j < 24; ++j) {
      if (i != j) text += fmt::format("<xgmi target=\"0000:{:02x}:00.0\" count=\"1\"/>", j);
    }
    text += "</gpu></pci>";
  }
  const Machine machine = read_nccl_text(text + "</cpu></system>", "test.xml");
  EXPECT_EQ(machine.bundles.size(), 24u * 23 / 2);
  const std::string written = nccl_text(machine);
  EXPECT_EQ(written.find("xgmi"), std::string::npos);
  EXPECT_EQ(read_nccl_text(written, "again.xml").gpus.size(), 24u);
}

}  // namespace
}  // namespace accl::topology
