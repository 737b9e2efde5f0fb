// search.h - a rank map where no closed form fits: simulated annealing over exchanges of seats. Its
// judge is the load on the cables: messages of one step beyond what two switches can carry at once,
// and messages that must go over a third switch, each weighed by its part of the vector. The same
// input gives the same map on every run.
#pragma once

#include <cstdint>
#include <vector>

#include "topology/mapping/problem.h"

namespace accl::topology {

struct SearchResult {
  std::vector<std::uint32_t> unit_order;
  double cost = 0;  // 0: no step has a message too many.
};

// Starts from the layers' natural order (layers.h). Stops at cost 0 or after `moves` tries.
SearchResult search_seats(const Problem& problem, std::uint64_t moves, std::uint64_t seed = 1);

// Tries that take some tens of seconds at 2048 ranks, and less below.
std::uint64_t default_moves(const Problem& problem);

// Sets a lane for every position such that messages of one step between the same two switches
// differ in it, and lanes of their own for the connections where one lane a position cannot do it.
void search_lanes(const Problem& problem, Seats& seats, std::uint64_t seed = 1);

// Replaces every lane by that of the cable (or spine) which its messages take, so that what is
// written down names cables whatever is dead or occupied.
void name_lanes(const Problem& problem, Seats& seats);

}  // namespace accl::topology
