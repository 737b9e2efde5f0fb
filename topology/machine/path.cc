#include "topology/machine/path.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace accl::topology {
namespace {

// Switches on the way up from a device to `top`, which is left out. Each is entered through its
// upstream port.
unsigned switches_below(const Machine& machine, NodeId device, NodeId top) {
  unsigned count = 0;
  for (NodeId node = device; node != top; node = machine.graph.node(node).parent) {
    const Bridge* bridge = machine.bridge_at(node);
    if (bridge != nullptr && bridge->role == BridgeRole::upstream) ++count;
  }
  return count;
}

unsigned lanes_between(const Machine& machine, NodeId a, NodeId b) {
  unsigned direct = 0;
  std::map<NodeId, unsigned> from_a;
  std::map<NodeId, unsigned> from_b;
  for (const Bundle& bundle : machine.bundles) {
    if ((bundle.a == a && bundle.b == b) || (bundle.a == b && bundle.b == a)) direct = bundle.lanes;
    if (bundle.a == a) from_a[bundle.b] = bundle.lanes;
    if (bundle.b == a) from_a[bundle.a] = bundle.lanes;
    if (bundle.a == b) from_b[bundle.b] = bundle.lanes;
    if (bundle.b == b) from_b[bundle.a] = bundle.lanes;
  }
  if (direct > 0) return direct;
  // NVSwitches of different boards are wired to each other; what counts is what a GPU can send.
  unsigned into_switches_of_a = 0;
  unsigned into_switches_of_b = 0;
  for (const NvSwitch& nvswitch : machine.nvswitches) {
    if (from_a.contains(nvswitch.node)) into_switches_of_a += from_a[nvswitch.node];
    if (from_b.contains(nvswitch.node)) into_switches_of_b += from_b[nvswitch.node];
  }
  return std::min(into_switches_of_a, into_switches_of_b);
}

}  // namespace

PathType pcie_path_between(const Machine& machine, NodeId a, NodeId b) {
  if (a == b) return PathType::self;
  const NodeId meeting = machine.graph.common_ancestor(a, b);
  switch (machine.graph.node(meeting).kind) {
    case NodeKind::host:
      return PathType::sys;
    case NodeKind::numa:
      return PathType::node;
    case NodeKind::host_bridge:
      return PathType::phb;
    default:
      break;
  }
  const Bridge* bridge = machine.bridge_at(meeting);
  const bool is_switch = bridge != nullptr && bridge->role == BridgeRole::upstream;
  const unsigned switches = switches_below(machine, a, meeting) +
                            switches_below(machine, b, meeting) + (is_switch ? 1 : 0);
  return switches <= 1 ? PathType::pix : PathType::pxb;
}

Path path_between(const Machine& machine, NodeId a, NodeId b) {
  const unsigned lanes = a == b ? 0 : lanes_between(machine, a, b);
  if (lanes > 0) return {PathType::nvlink, lanes};
  return {pcie_path_between(machine, a, b), 0};
}

std::string to_string(const Path& path) {
  switch (path.type) {
    case PathType::self:
      return "X";
    case PathType::nvlink:
      return fmt::format("NV{}", path.lanes);
    case PathType::pix:
      return "PIX";
    case PathType::pxb:
      return "PXB";
    case PathType::phb:
      return "PHB";
    case PathType::node:
      return "NODE";
    case PathType::sys:
      return "SYS";
  }
  return "";
}

}  // namespace accl::topology
