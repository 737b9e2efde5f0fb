#include "topology/fabric/routes.h"

#include <algorithm>

#include "accl/base/assert.h"
#include "accl/base/mix.h"

namespace accl::topology {
namespace {

constexpr std::uint16_t far_away = 0xFFFF;

}  // namespace

Routes::Routes(const Fabric& fabric, const Condition& condition, std::uint64_t seed)
    : fabric_(fabric),
      seed_(seed),
      neighbours_(fabric.switches.size()),
      switch_of_node_(fabric.graph.nodes().size()),
      dead_(condition.dead_cables) {
  for (std::uint32_t i = 0; i < fabric.switches.size(); ++i) {
    switch_of_node_[index(fabric.switches[i].node)] = SwitchId{i};
  }
  find_neighbours(condition);
  find_distances();
}

void Routes::find_neighbours(const Condition& condition) {
  for (std::uint32_t i = 0; i < fabric_.switches.size(); ++i) {
    std::vector<Neighbour>& list = neighbours_[i];
    for (const LinkId link : fabric_.graph.leaving(fabric_.switches[i].node)) {
      const CableId cable = fabric_.cable_of(link);
      if (!fabric_.at(cable).joins_switches || condition.is_dead(cable)) continue;
      const SwitchId to = switch_of_node_[index(fabric_.graph.link(link).to)];
      auto place = std::ranges::lower_bound(list, to, {}, &Neighbour::to);
      if (place == list.end() || place->to != to) place = list.insert(place, {to, {}, {}});
      place->all.push_back(link);
      if (!condition.is_occupied(cable)) place->chosen.push_back(link);
    }
    for (Neighbour& each : list) {
      if (each.chosen.empty()) each.chosen = each.all;
    }
  }
}

void Routes::find_distances() {
  const std::size_t count = fabric_.switches.size();
  for (std::uint32_t start = 0; start < count; ++start) {
    distances_.push_back(distances_from(SwitchId{start}));
  }
}

std::vector<std::uint16_t> Routes::distances_from(SwitchId start) const {
  std::vector<std::uint16_t> distance(fabric_.switches.size(), far_away);
  distance[index(start)] = 0;
  std::vector<SwitchId> open{start};
  for (std::size_t next = 0; next < open.size(); ++next) {
    const std::uint16_t here = distance[index(open[next])];
    if (here + 1 == far_away) break;
    for (const Neighbour& each : neighbours_[index(open[next])]) {
      if (distance[index(each.to)] != far_away) continue;
      distance[index(each.to)] = static_cast<std::uint16_t>(here + 1);
      open.push_back(each.to);
    }
  }
  return distance;
}

const Routes::Neighbour* Routes::neighbour(SwitchId from, SwitchId to) const {
  const std::vector<Neighbour>& list = neighbours_[index(from)];
  const auto place = std::ranges::lower_bound(list, to, {}, &Neighbour::to);
  return place == list.end() || place->to != to ? nullptr : &*place;
}

std::span<const LinkId> Routes::between(SwitchId from, SwitchId to) const {
  const Neighbour* const found = neighbour(from, to);
  return found == nullptr ? std::span<const LinkId>() : found->chosen;
}

std::optional<std::uint32_t> Routes::distance(SwitchId from, SwitchId to) const {
  const std::uint16_t hops = distances_[index(from)][index(to)];
  return hops == far_away ? std::nullopt : std::optional<std::uint32_t>(hops);
}

LinkId Routes::direct_hop(const Neighbour& neighbour, std::uint32_t lane) const {
  for (const LinkId link : neighbour.chosen) {
    if (fabric_.at(fabric_.cable_of(link)).lane == lane) return link;
  }
  return neighbour.chosen[lane % neighbour.chosen.size()];
}

// The way by the switch of this place.
LinkId Routes::pinned_hop(std::span<const LinkId> ways, std::uint32_t lane) const {
  for (const LinkId link : ways) {
    const SwitchId next = switch_of_node_[index(fabric_.graph.link(link).to)];
    if (fabric_.at(next).place == lane) return link;
  }
  return ways[lane % ways.size()];
}

// The cables that lead nearer; for pinned messages not the occupied ones, where others are left.
std::vector<LinkId> Routes::ways_to(SwitchId at, SwitchId to, bool is_pinned) const {
  const std::vector<std::uint16_t>& left = distances_[index(to)];
  std::vector<LinkId> ways;
  for (const Neighbour& each : neighbours_[index(at)]) {
    if (left[index(each.to)] + 1 != left[index(at)]) continue;
    const std::vector<LinkId>& links = is_pinned ? each.chosen : each.all;
    ways.insert(ways.end(), links.begin(), links.end());
  }
  ACCL_ASSERT(!ways.empty(), index(at), index(to));
  return ways;
}

// A switch hashes what is in the packet, with a seed of its own, over the cables that lead nearer.
LinkId Routes::hop(SwitchId at, SwitchId to, const Flow& flow) const {
  const Neighbour* const direct = flow.lane ? neighbour(at, to) : nullptr;
  if (direct != nullptr) return direct_hop(*direct, *flow.lane);
  const bool is_pinned = flow.lane && fabric_.kind == FabricKind::leaf_spine;
  const std::vector<LinkId> ways = ways_to(at, to, is_pinned);
  if (is_pinned) return pinned_hop(ways, *flow.lane);
  const std::uint64_t packet =
      mix(mix(std::uint64_t{index(flow.from)} << 32 | index(flow.to)) ^ flow.label);
  return ways[mix(packet ^ mix(seed_ << 32 | index(at))) % ways.size()];
}

std::uint32_t Routes::lane_of(std::span<const LinkId> path) const {
  if (path.size() < 3) return 0;  // One switch.
  const Cable& cable = fabric_.at(fabric_.cable_of(path[1]));
  if (fabric_.kind != FabricKind::leaf_spine) return cable.lane;
  return fabric_.at(switch_of_node_[index(fabric_.graph.link(path[1]).to)]).place;
}

bool Routes::append_path(const Flow& flow, std::vector<LinkId>& links) const {
  const Nic& from = fabric_.at(flow.from);
  const Nic& to = fabric_.at(flow.to);
  const bool is_cut = dead_[index(from.cable)] || dead_[index(to.cable)];
  if (is_cut || distances_[index(from.at)][index(to.at)] == far_away) return false;
  links.push_back(fabric_.at(from.cable).link);
  for (SwitchId at = from.at; at != to.at;) {
    links.push_back(hop(at, to.at, flow));
    at = switch_of_node_[index(fabric_.graph.link(links.back()).to)];
  }
  links.push_back(reverse(fabric_.at(to.cable).link));
  return true;
}

}  // namespace accl::topology
