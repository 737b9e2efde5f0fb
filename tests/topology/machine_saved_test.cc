// Real machines: what discover says of each, what survives the NCCL writer, and that no part of
// their files crashes a reader.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>

#include "accl/base/error.h"
#include "accl/base/text_file.h"
#include "tests/topology/inputs.h"
#include "topology/machine/hwloc_reader.h"
#include "topology/machine/nccl_reader.h"
#include "topology/machine/nccl_writer.h"
#include "topology/machine/pairing.h"
#include "topology/machine/report.h"
#include "topology/machine/transplant.h"

namespace accl::topology {
namespace {

constexpr const char* no_inputs = "no saved machines: neither ../shared/inputs nor ACCL_INPUTS";

Machine machine_of(const Input& input, const std::string& text) {
  return input.is_hwloc ? read_hwloc_text(text, input.name) : read_nccl_text(text, input.name);
}

Machine machine_named(const std::string& name) {
  for (const Input& input : machine_inputs()) {
    if (input.name == name) return machine_of(input, input.text);
  }
  throw std::runtime_error("no input " + name);
}

// "GPU -> port (PATH)" in a line each.
std::string pairs_of(const Machine& machine) {
  std::string text;
  for (const Pair& pair : pair_devices(machine)) {
    const Nic& nic = machine.nic(pair.nic);
    text += to_string(machine.gpu(pair.gpu).pci.address) + " " + nic.ports[pair.port].name + " " +
            to_string(nic.pci.address) + "\n";
  }
  return text;
}

std::string paths_of(const Machine& machine) {
  std::map<std::string, int> counts;
  for (const Pair& pair : pair_devices(machine)) ++counts[to_string(Path{pair.path, 0})];
  std::string text;
  for (const auto& [path, count] : counts) text += path + ":" + std::to_string(count) + " ";
  return text;
}

TEST(SavedMachines, GoldenText) {
  const auto inputs = machine_inputs();
  if (inputs.empty()) GTEST_SKIP() << no_inputs;
  const std::filesystem::path folder = "tests/topology/golden";
  for (const Input& input : inputs) {
    const std::string text = text_report(machine_of(input, input.text));
    const auto file = folder / (std::filesystem::path(input.name).stem().string() + ".txt");
    // To take what it prints now for right: ACCL_GOLDEN=write, and read the difference.
    if (std::getenv("ACCL_GOLDEN") != nullptr) write_text(file.string(), text);
    EXPECT_EQ(text, read_text(file.string())) << input.name;
  }
}

// GPUs, NICs (cards, not ports), and how many pairs have which path. Lassen's and Sierra's four
// ports are on two cards; of dam01's accelerators one is an FPGA.
TEST(SavedMachines, PairAsTheirBuildersMeant) {
  if (inputs_folder().empty()) GTEST_SKIP() << no_inputs;
  struct Expected {
    const char* name;
    std::size_t gpus;
    std::size_t nics;
    const char* paths;
  };
  const Expected table[] = {
      {"hwloc/topo.jwb0004.xml", 4, 4, "PIX:4 "},
      {"hwloc/topo.jwc09n003.xml", 4, 2, "PIX:4 "},
      {"hwloc/topo.dp-dam01.xml", 1, 1, "NODE:1 "},
      {"hwloc/coral-lassen.xml", 4, 2, "NODE:4 "},
      {"hwloc/flux-sierra2-0.xml", 4, 2, "NODE:4 "},
      {"hwloc/cts1-pascal.xml", 2, 1, "PIX:2 "},
      {"hwloc/epyc-corona-p2.xml", 8, 1, "NODE:3 PHB:1 SYS:4 "},
      {"hwloc/nvidiaDGX2.v2x-branch.xml", 16, 0, ""},
      {"hwloc/16intel64-manyVFs.2.9.0.xml", 0, 3, ""},
      {"nccl-topo/ndv4-topo.xml", 8, 8, "PIX:8 "},
      {"nccl-topo/p4d-24xl-topo.xml", 8, 4, "PIX:8 "},
      {"nccl-topo/topo_8p_940.xml", 8, 8, "PXB:8 "},
      {"nccl-topo/topo_8p_940vm.xml", 8, 8, "PHB:8 "},
      {"nccl-topo/topo_16p1h_vm.xml", 16, 8, "PHB:16 "},
      {"nccl-topo/topo_8p_rome_4nics.xml", 8, 4, "PXB:8 "},
      {"nccl-topo/topo_4p1h.xml", 4, 1, "PXB:4 "},
  };
  for (const Expected& expected : table) {
    const Machine machine = machine_named(expected.name);
    EXPECT_EQ(machine.gpus.size(), expected.gpus) << expected.name;
    EXPECT_EQ(machine.nics.size(), expected.nics) << expected.name;
    EXPECT_EQ(paths_of(machine), expected.paths) << expected.name;
  }
}

TEST(SavedMachines, EveryNicServesItsShare) {
  const auto inputs = machine_inputs();
  if (inputs.empty()) GTEST_SKIP() << no_inputs;
  for (const Input& input : inputs) {
    const Machine machine = machine_of(input, input.text);
    if (machine.nics.empty()) continue;
    std::map<std::uint32_t, std::size_t> loads;
    for (const Pair& pair : pair_devices(machine)) ++loads[index(pair.nic)];
    const std::size_t share = (machine.gpus.size() + machine.nics.size() - 1) / machine.nics.size();
    for (const auto& [nic, load] : loads) EXPECT_LE(load, share) << input.name << " NIC " << nic;
  }
}

TEST(SavedMachines, NcclTextKeepsThePairs) {
  const auto inputs = machine_inputs();
  if (inputs.empty()) GTEST_SKIP() << no_inputs;
  for (const Input& input : inputs) {
    const Machine machine = machine_of(input, input.text);
    const std::string text = nccl_text(machine);
    const Machine again = read_nccl_text(text, input.name + " written");
    EXPECT_EQ(pairs_of(machine), pairs_of(again)) << input.name;
    EXPECT_EQ(paths_of(machine), paths_of(again)) << input.name;
    // Ports of a switch are one element from now on: the order is settled.
    const std::string settled = nccl_text(again);
    EXPECT_EQ(settled, nccl_text(read_nccl_text(settled, "settled"))) << input.name;
  }
}

// A prefix is never a machine: every one gives an Error with a line, none crashes.
TEST(SavedMachines, TruncatedFilesAreRefused) {
  const auto inputs = machine_inputs();
  if (inputs.empty()) GTEST_SKIP() << no_inputs;
  for (const Input& input : inputs) {
    const std::size_t whole = input.text.find_last_of('>');
    for (std::size_t i = 0; i < 60; ++i) {
      const std::string part = input.text.substr(0, whole * i / 60);
      EXPECT_THROW(machine_of(input, part), Error) << input.name << " cut at " << part.size();
    }
  }
}

// A piece cut out of the middle: a machine or an Error.
TEST(SavedMachines, DamagedFilesDoNotCrash) {
  const auto inputs = machine_inputs();
  if (inputs.empty()) GTEST_SKIP() << no_inputs;
  std::size_t refused = 0;
  for (const Input& input : inputs) {
    for (std::size_t i = 1; i < 40; ++i) {
      std::string text = input.text;
      text.erase(text.size() * i / 40, i * 7);
      try {
        text_report(machine_of(input, text));
      } catch (const Error&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, inputs.size());
}

TEST(SavedMachines, TheBareTreeFitsItsVirtualMachine) {
  if (inputs_folder().empty()) GTEST_SKIP() << no_inputs;
  const Machine bare = machine_named("nccl-topo/topo_8p_940.xml");
  const Machine vm = machine_named("nccl-topo/topo_8p_940vm.xml");
  const Machine both = read_nccl_text(transplant(bare, vm).nccl_text, "both.xml");
  EXPECT_EQ(paths_of(both), "PXB:8 ");
  // The virtual machine numbers cards by tens: 0010 and 0011, 0020 and 0021, ...
  for (const Pair& pair : pair_devices(both)) {
    EXPECT_EQ(both.gpu(pair.gpu).pci.address.domain & ~0xfu,
              both.nic(pair.nic).pci.address.domain & ~0xfu);
  }
  EXPECT_EQ(both.bundles.size(), vm.bundles.size());
  const Machine other = machine_named("nccl-topo/topo_4p1h.xml");
  EXPECT_THROW(transplant(bare, other), Error);
  EXPECT_THROW(transplant(machine_named("nccl-topo/topo_8p_rome_4nics.xml"), vm), Error);
}

}  // namespace
}  // namespace accl::topology
