// machine.h - one server as collectives see it: the tree of everything its GPUs and NICs hang on,
// and tables of both. Filled by a reader (hwloc_reader.h, nccl_reader.h); nothing that uses it can
// tell which, except through `source`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "topology/graph.h"
#include "topology/machine/pci.h"
#include "topology/machine/xml_tree.h"

namespace accl::topology {

enum class GpuId : std::uint32_t {};  // Indices of Machine::gpus and Machine::nics.
enum class NicId : std::uint32_t {};

// Real files have less than 1 MB.
constexpr std::size_t max_topology_bytes = 16 << 20;

enum class Source : std::uint8_t { live, hwloc_file, nccl_file };
std::string_view name_of(Source source);

struct Numa {
  NodeId node{};
  int os_index = -1;        // -1: the source does not know.
  XmlAttributes processor;  // As NCCL names them: affinity, arch, vendor, familyid, modelid.
};

// What a bridge is to the tree. A PCIe switch is one upstream port with downstream ports below it;
// sources that show a whole switch as one element give its upstream port only.
enum class BridgeRole : std::uint8_t { root_port, upstream, downstream };

struct Bridge {
  NodeId node{};
  BridgeRole role{};
  PciFunction pci;
};

struct Gpu {
  NodeId node{};
  int numa = -1;       // OS index.
  int processor = -1;  // Socket, where the source has sockets.
  PciFunction pci;
  XmlAttributes nccl;  // Attributes of NCCL's <gpu>, kept word for word.
};

// One port as the verbs know it: a PCI function of its own, or one of several of a function.
struct Port {
  std::string name;  // mlx5_0
  PciAddress address;
  std::string guid;            // As the source writes it; "" where it says nothing.
  double bits_per_second = 0;  // 0: the source does not say.
  bool is_down = false;        // Only where the source says so.
  XmlAttributes nccl;          // Attributes of NCCL's <net>, kept word for word.
};

// One card: the functions that differ in nothing but the function number are its ports.
struct Nic {
  NodeId node{};
  int numa = -1;
  int processor = -1;
  PciFunction pci;          // Of the first port.
  std::string name;         // Of the first port; the bus id where the source names none.
  std::vector<Port> ports;  // Never empty.
};

struct NvSwitch {
  NodeId node{};
  PciFunction pci;
};

// NVLink or xGMI between two devices: `lanes` links side by side.
struct Bundle {
  NodeId a{};
  NodeId b{};
  unsigned lanes = 0;
};

struct Machine {
  Source source{};
  std::string origin;     // The file's name, or the host's.
  std::string certainty;  // How far the source can be trusted, in a sentence.

  Graph graph;
  NodeId host{};
  std::vector<Numa> numas;
  std::vector<Bridge> bridges;  // In the order of the tree.
  std::vector<Gpu> gpus;        // By bus id, as nvidia-smi numbers them.
  std::vector<Nic> nics;        // By bus id.
  std::vector<NvSwitch> nvswitches;
  std::vector<Bundle> bundles;
  std::vector<std::string>
      notes;  // What the reader had to leave out or guess; printed as warnings.

  const Gpu& gpu(GpuId id) const { return gpus[index(id)]; }
  const Nic& nic(NicId id) const { return nics[index(id)]; }
  // Null where `node` is no bridge.
  const Bridge* bridge_at(NodeId node) const;
  // The closest container of this kind; no_node where there is none.
  NodeId enclosing(NodeId node, NodeKind kind) const;
  bool has_switches() const;
};

}  // namespace accl::topology
