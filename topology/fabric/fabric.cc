#include "topology/fabric/fabric.h"

#include <fmt/format.h>

#include <array>

namespace accl::topology {

std::string_view name_of(Side side) {
  constexpr std::array<std::string_view, 3> names{"upper", "lower", "none"};
  return names[static_cast<std::size_t>(side)];
}

std::string Fabric::name_of(const CableEnd& end) const {
  const Node& node = graph.node(end.node);
  if (node.kind == NodeKind::fabric_switch) return fmt::format("{}:{}", node.name, end.port);
  return node.name;
}

std::string Fabric::name_of(CableId id) const {
  const Cable& cable = at(id);
  return fmt::format("{} {} -- {}", label_of(id), name_of(cable.a), name_of(cable.b));
}

std::string label_of(CableId id) { return fmt::format("C{:04}", index(id)); }

}  // namespace accl::topology
