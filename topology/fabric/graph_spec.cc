// graph_spec.cc - fabrics of any shape, from lists: `topology: graph`.
#include <fmt/format.h>

#include <map>
#include <queue>
#include <utility>

#include "topology/fabric/builder.h"

namespace accl::topology {
namespace {

constexpr std::size_t max_entries = 1 << 16;
constexpr std::size_t max_switches = 4096;  // Paths between all of them are kept.

using Names = std::map<std::string, SwitchId>;

SwitchId switch_named(const Names& names, const Section& at, const std::string& key,
                      const std::string& name) {
  const auto found = names.find(name);
  if (found == names.end()) at.complain(key, fmt::format("there is no switch '{}'", name));
  return found->second;
}

Side side_of(Section& section) {
  constexpr std::array<std::string_view, 3> sides{"none", "upper", "lower"};
  const std::string side = section.choice("side", sides);
  return side == "none" ? Side::none : side == "upper" ? Side::upper : Side::lower;
}

Names add_switches(Builder& builder, Section& spec) {
  Names names;
  std::map<std::pair<Side, std::uint32_t>, std::uint32_t> places;
  for (Section& section : spec.sections("switches")) {
    Switch added;
    added.name = section.text("name");
    added.side = side_of(section);
    added.plane = section.count("plane", {0, 63}, 0);
    added.ports = section.count("ports", {1, 65536}, 0);
    added.place = places[{added.side, added.plane}]++;
    builder.fabric().planes = std::max(builder.fabric().planes, added.plane + 1);
    section.finish();
    if (names.size() == max_switches) {
      spec.complain("switches", fmt::format("are more than {}", max_switches));
    }
    names[added.name] = builder.add_switch(added);
  }
  if (names.empty()) spec.complain("switches", "is missing: list at least one switch");
  return names;
}

void add_servers(Builder& builder, Section& spec, const Names& names) {
  for (Section& section : spec.sections("servers")) {
    const std::string name = section.text("name");
    const std::vector<std::string> at = section.texts("nics");
    if (at.empty()) section.complain("nics", "is missing: list the switch of every NIC");
    const auto nics = static_cast<std::uint32_t>(at.size());
    const std::uint32_t gpus = section.count("gpus", {0, 64}, nics);
    const double gbps = section.number("gbps", {0.001, 100000}, 100);
    const ServerId id = builder.add_server(name, gpus, nics, section.text("nic_name", "mlx5_{}"));
    section.finish();
    for (std::uint32_t i = 0; i < nics; ++i) {
      const NicId nic = builder.fabric().at(id).nics[i];
      builder.plug(nic, switch_named(names, section, "nics", at[i]), gbps);
    }
    if (builder.fabric().nics.size() > max_entries) spec.complain("servers", "are too many");
  }
  if (builder.fabric().servers.empty()) spec.complain("servers", "is missing: list them");
}

void add_cables(Builder& builder, Section& spec, const Names& names) {
  for (Section& section : spec.sections("cables")) {
    const SwitchId a = switch_named(names, section, "a", section.text("a"));
    const SwitchId b = switch_named(names, section, "b", section.text("b"));
    if (a == b) section.complain("joins a switch with itself");
    const std::uint32_t count = section.count("count", {1, 1024}, 1);
    const double gbps = section.number("gbps", {0.001, 100000}, 100);
    section.finish();
    builder.join(a, b, count, gbps);
    if (builder.fabric().cables.size() > 16 * max_entries) spec.complain("cables", "are too many");
  }
}

using Sides = std::map<NodeId, Side>;

// Gives all switches that can be reached from this one a side; false for an odd circle.
bool spread_sides(const Fabric& fabric, NodeId start, Sides& sides) {
  sides[start] = Side::upper;
  std::queue<NodeId> open({start});
  for (; !open.empty(); open.pop()) {
    const Side other = sides[open.front()] == Side::upper ? Side::lower : Side::upper;
    for (const LinkId link : fabric.graph.leaving(open.front())) {
      const NodeId next = fabric.graph.link(link).to;
      if (fabric.graph.node(next).kind != NodeKind::fabric_switch) continue;
      const auto [entry, is_new] = sides.emplace(next, other);
      if (is_new) open.push(next);
      if (entry->second != other) return false;
    }
  }
  return true;
}

// Layers that nobody named are found where the switches fall into two: neighbours always differ.
void find_sides(Fabric& fabric) {
  for (const Switch& one : fabric.switches) {
    if (one.side != Side::none) return;
  }
  Sides sides;
  for (const Switch& start : fabric.switches) {
    if (!sides.contains(start.node) && !spread_sides(fabric, start.node, sides)) return;
  }
  std::map<std::pair<Side, std::uint32_t>, std::uint32_t> places;
  for (Switch& one : fabric.switches) {
    one.side = sides[one.node];
    one.place = places[{one.side, one.plane}]++;
  }
}

}  // namespace

void build_graph(Builder& builder, Section& spec) {
  const Names names = add_switches(builder, spec);
  add_servers(builder, spec, names);
  add_cables(builder, spec, names);
  find_sides(builder.fabric());
}

}  // namespace accl::topology
