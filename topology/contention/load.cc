#include "topology/contention/load.h"

#include <algorithm>

#include "accl/base/error.h"

namespace accl::topology {
namespace {

// As it was seen, or as the fabric would choose. False where there is no path.
bool append_path(const Routes& routes, const Sending& sending, const Flow& flow,
                 std::vector<LinkId>& links) {
  if (sending.seen == nullptr) return routes.append_path(flow, links);
  const std::span<const LinkId> seen = sending.seen->find(flow.from, flow.to);
  links.insert(links.end(), seen.begin(), seen.end());
  return !seen.empty() || routes.append_path(flow, links);
}

}  // namespace

std::optional<std::uint32_t> Seats::lane(Position from, Position to) const {
  if (lanes.empty()) return std::nullopt;
  const auto own = own_lanes.find(connection_of(index(from), index(to)));
  return own == own_lanes.end() ? lanes[index(from)] : own->second;
}

RoutedRound route_round(const Fabric& fabric, const Routes& routes, const Seats& seats,
                        const Round& round, const Sending& sending) {
  RoutedRound routed;
  routed.flows.reserve(round.messages.size() * sending.qps);
  const double share = 1.0 / sending.qps;
  for (std::uint32_t number = 0; number < round.messages.size(); ++number) {
    const Message& message = round.messages[number];
    const NicId from = seats.at(message.from);
    const NicId to = seats.at(message.to);
    const bool is_inside = fabric.at(from).server == fabric.at(to).server;
    if (from == to || (is_inside && !sending.inside_servers)) continue;
    for (std::uint32_t qp = 0; qp < sending.qps; ++qp) {
      Flow flow{.from = from, .to = to, .lane = std::nullopt, .label = qp};
      flow.lane = seats.lane(message.from, message.to);
      const auto first = static_cast<std::uint32_t>(routed.links.size());
      if (!append_path(routes, sending, flow, routed.links)) {
        fail(ErrorKind::invalid_argument,
             "there is no path from {} to {}: they are in planes of their own or cut off; use "
             "--algo twolevel for planes, or leave dead hosts out",
             fabric.graph.node(fabric.at(from).node).name,
             fabric.graph.node(fabric.at(to).node).name);
      }
      const auto count = static_cast<std::uint32_t>(routed.links.size()) - first;
      routed.flows.push_back(
          {message.from, message.to, message.chunks * share, share, first, count, number});
    }
  }
  return routed;
}

std::vector<double> flows_by_link(const Fabric& fabric, const RoutedRound& round) {
  std::vector<double> flows(fabric.graph.links().size(), 0.0);
  for (const Routed& flow : round.flows) {
    for (const LinkId link : round.path(flow)) flows[index(link)] += flow.share;
  }
  return flows;
}

RoundLoad load_of(const Fabric& fabric, const Condition& condition, const RoutedRound& round) {
  constexpr double rounding = 1e-9;
  const std::vector<double> flows = flows_by_link(fabric, round);
  RoundLoad load;
  for (const Routed& flow : round.flows) load.chunks = std::max(load.chunks, flow.chunks);
  for (std::uint32_t i = 0; i < flows.size(); ++i) {
    const CableId cable = fabric.cable_of(LinkId{i});
    if (!fabric.at(cable).joins_switches) {
      load.at_nics = std::max(load.at_nics, flows[i]);
      continue;
    }
    if (flows[i] > 1 + rounding) ++load.shared;
    if (condition.is_occupied(cable)) load.occupied += static_cast<std::uint32_t>(flows[i] + 0.5);
    if (flows[i] <= load.between_switches) continue;
    load.between_switches = flows[i];
    load.hottest = LinkId{i};
  }
  return load;
}

double most_of(std::span<const RoundLoad> rounds) {
  double most = 0;
  for (const RoundLoad& round : rounds) most = std::max(most, round.between_switches);
  return most;
}

std::uint32_t occupied_of(std::span<const RoundLoad> rounds) {
  std::uint32_t count = 0;
  for (const RoundLoad& round : rounds) count += round.occupied * round.repeats;
  return count;
}

}  // namespace accl::topology
