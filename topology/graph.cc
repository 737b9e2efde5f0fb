#include "topology/graph.h"

#include <array>
#include <utility>

#include "accl/base/assert.h"

namespace accl::topology {
namespace {

std::uint32_t depth_of(const Graph& graph, NodeId node) {
  std::uint32_t depth = 0;
  for (; node != no_node; node = graph.node(node).parent) ++depth;
  return depth;
}

}  // namespace

std::string_view name_of(NodeKind kind) {
  constexpr std::array<std::string_view, 9> names{"host",       "numa",          "host bridge",
                                                  "pci switch", "pci root port", "gpu",
                                                  "nic",        "nvswitch",      "switch"};
  return names[static_cast<std::size_t>(kind)];
}

NodeId Graph::add(NodeKind kind, std::string name, NodeId parent) {
  ACCL_ASSERT(parent == no_node || index(parent) < nodes_.size(), index(parent), nodes_.size());
  nodes_.push_back({kind, parent, std::move(name)});
  leaving_.emplace_back();
  return NodeId{static_cast<std::uint32_t>(nodes_.size() - 1)};
}

LinkId Graph::join(NodeId a, NodeId b, double bytes_per_second) {
  ACCL_ASSERT(index(a) < nodes_.size() && index(b) < nodes_.size(), index(a), index(b));
  const LinkId there{static_cast<std::uint32_t>(links_.size())};
  links_.push_back({a, b, bytes_per_second});
  links_.push_back({b, a, bytes_per_second});
  leaving_[index(a)].push_back(there);
  leaving_[index(b)].push_back(reverse(there));
  return there;
}

NodeId Graph::common_ancestor(NodeId a, NodeId b) const {
  std::uint32_t depth_a = depth_of(*this, a);
  std::uint32_t depth_b = depth_of(*this, b);
  for (; depth_a > depth_b; --depth_a) a = node(a).parent;
  for (; depth_b > depth_a; --depth_b) b = node(b).parent;
  while (a != b) {
    a = node(a).parent;
    b = node(b).parent;
  }
  return a;
}

}  // namespace accl::topology
