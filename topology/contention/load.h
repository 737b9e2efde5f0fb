// load.h - how many messages cross each cable in each round of a plan: counted, one by one, over
// the plan's own messages and the fabric's own routes. What a map claims is proven here.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "topology/contention/traffic.h"
#include "topology/fabric/routes.h"
#include "topology/fabric/seen_paths.h"

namespace accl::topology {

// Which NIC each position of a plan sits at, and the lane of its cables between switches.
struct Seats {
  std::vector<NicId> nics;
  std::vector<std::uint32_t> lanes;  // Empty: nothing is pinned, the hash chooses.
  // Connections that need another lane than their sender's: by connection_of().
  std::unordered_map<std::uint64_t, std::uint32_t> own_lanes;

  static std::uint64_t connection_of(std::uint32_t from, std::uint32_t to) {
    return std::uint64_t{from} << 32 | to;
  }
  std::uint32_t size() const { return static_cast<std::uint32_t>(nics.size()); }
  NicId at(Position p) const { return nics[index(p)]; }
  std::optional<std::uint32_t> lane(Position from, Position to) const;
};

// How a message becomes flows.
struct Sending {
  std::uint32_t qps = 1;            // Flows that share a message evenly, each hashed on its own.
  bool inside_servers = true;       // Over their NICs, as EFlops does; else they cross no cable.
  const SeenPaths* seen = nullptr;  // Of this fabric: asked first, all QPs of a pair go there.
};

// One message (or a QP's part of it) on its way.
struct Routed {
  Position from{};
  Position to{};
  double chunks = 0;
  double share = 1;              // Of the message.
  std::uint32_t first_link = 0;  // In RoutedRound::links.
  std::uint32_t link_count = 0;
  std::uint32_t message = 0;  // In Round::messages.
};

struct RoutedRound {
  std::vector<Routed> flows;
  std::vector<LinkId> links;

  std::span<const LinkId> path(const Routed& flow) const {
    return std::span(links).subspan(flow.first_link, flow.link_count);
  }
};

// Throws Error(invalid_argument) that names both NICs where there is no path between them. Messages
// between positions at one NIC cross nothing and are left out.
RoutedRound route_round(const Fabric& fabric, const Routes& routes, const Seats& seats,
                        const Round& round, const Sending& sending);

// Messages per link; a QP's flow counts as its part of one.
std::vector<double> flows_by_link(const Fabric& fabric, const RoutedRound& round);

struct RoundLoad {
  double between_switches = 0;  // The most messages on one link between switches.
  double at_nics = 0;           // The most on one link of a NIC.
  LinkId hottest{};             // Between switches.
  std::uint32_t shared = 0;     // Links between switches that carry more than one message.
  std::uint32_t occupied = 0;   // Messages on cables that other jobs occupy.
  std::uint32_t repeats = 1;
  double chunks = 0;  // In the largest message.
};

// Over all rounds: the most messages on one link between switches, and the messages on cables that
// other jobs occupy.
double most_of(std::span<const RoundLoad> rounds);
std::uint32_t occupied_of(std::span<const RoundLoad> rounds);

RoundLoad load_of(const Fabric& fabric, const Condition& condition, const RoutedRound& round);

}  // namespace accl::topology
