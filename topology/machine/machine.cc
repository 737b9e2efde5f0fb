#include "topology/machine/machine.h"

#include <algorithm>

namespace accl::topology {

std::string_view name_of(Source source) {
  switch (source) {
    case Source::live:
      return "this machine, through hwloc";
    case Source::hwloc_file:
      return "hwloc XML";
    case Source::nccl_file:
      return "NCCL topology XML";
  }
  return "";
}

const Bridge* Machine::bridge_at(NodeId node) const {
  // Readers add bridges in the order of their nodes.
  const auto found = std::lower_bound(
      bridges.begin(), bridges.end(), node,
      [](const Bridge& bridge, NodeId wanted) { return index(bridge.node) < index(wanted); });
  return found != bridges.end() && found->node == node ? &*found : nullptr;
}

NodeId Machine::enclosing(NodeId node, NodeKind kind) const {
  while (node != no_node && graph.node(node).kind != kind) node = graph.node(node).parent;
  return node;
}

bool Machine::has_switches() const {
  return std::any_of(bridges.begin(), bridges.end(),
                     [](const Bridge& bridge) { return bridge.role == BridgeRole::upstream; });
}

}  // namespace accl::topology
