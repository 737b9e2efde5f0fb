// path.h - what lies between two devices, in the letters of `nvidia-smi topo -m`.
#pragma once

#include <cstdint>
#include <string>

#include "topology/machine/machine.h"

namespace accl::topology {

// The nearer, the smaller.
enum class PathType : std::uint8_t {
  self,    // X
  nvlink,  // NV#: # NVLinks or xGMI links, directly or through NVSwitches.
  pix,     // At most one PCIe switch.
  pxb,     // Several PCIe switches, but not the CPU.
  phb,     // The CPU's host bridge.
  node,    // The interconnect between host bridges of one NUMA node.
  sys,     // The interconnect between NUMA nodes.
};

struct Path {
  PathType type{};
  unsigned lanes = 0;  // Of nvlink.
};

// Both nodes are GPUs or NICs of the machine.
Path path_between(const Machine& machine, NodeId a, NodeId b);
// Without NVLink: what PCIe has to carry.
PathType pcie_path_between(const Machine& machine, NodeId a, NodeId b);

constexpr bool shares_switch(PathType type) {
  return type == PathType::pix || type == PathType::pxb;
}

// "PIX", "NV6", "X".
std::string to_string(const Path& path);

}  // namespace accl::topology
