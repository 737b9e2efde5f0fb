// mapper.h - which rank sits where: the order under which halving-doubling puts every connection of
// a step on a cable of its own, or as near to that as can be found; and what it achieves, counted
// over the plan and the fabric (contention/load.h), never by the formula that made it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "topology/mapping/problem.h"

namespace accl::topology {

struct MapOptions {
  std::string algorithm;       // Of allreduce; empty: the natural one.
  std::optional<First> first;  // Not given: whichever costs less.
  std::uint64_t moves = 0;     // Of a search; 0: as many as suit the size.
};

struct Mapping {
  std::string algorithm;
  Shape shape;
  Seats seats;
  std::string method;             // "closed form", "ring x exchanges", "search".
  std::vector<RoundLoad> rounds;  // Of the plan, as counted.

  double most() const { return most_of(rounds); }
  std::uint32_t occupied() const { return occupied_of(rounds); }
  // Of all steps: the largest message times the messages on the hottest cable; chunks.
  double burden() const;
  bool is_contention_free() const { return most() <= 1 && occupied() == 0; }
};

Mapping map_ranks(const Fabric& fabric, const Condition& condition, const MapOptions& options);

// How a plan's messages go over this fabric, given the algorithm: inside a server of a two-level
// plan they cross no cable.
Sending sending_of(const std::string& algorithm);

// What every round of the plan puts on the cables.
std::vector<RoundLoad> loads_of(const Fabric& fabric, const Condition& condition,
                                const Routes& routes, const Seats& seats, const Traffic& traffic,
                                const Sending& sending);

}  // namespace accl::topology
