// problem.h - what the rank mapper is asked: the NICs that take part, the plan whose messages shall
// not meet, and what each pair of switches can carry at once.
#pragma once

#include <cstdint>
#include <vector>

#include "topology/contention/load.h"

namespace accl::topology {

// Messages that are under way at the same time. Rounds with the same senders and receivers are one.
struct Pattern {
  struct Pair {
    std::uint32_t from = 0;
    std::uint32_t to = 0;
  };
  std::vector<Pair> messages;
  double weight = 1;  // Of the vector, in all rounds of this pattern; the largest is 1.
};

std::vector<Pattern> patterns_of(const Traffic& traffic);

struct Problem {
  const Fabric& fabric;
  const Condition& condition;
  const Routes& routes;
  std::string algorithm;  // Of allreduce: "hd", "twolevel", ...
  Shape shape;            // As many positions as NICs take part.
  Traffic traffic;
  std::vector<Pattern> patterns;  // Of it.
  // Positions that sit and move together: [k * width, (k+1) * width) are the NICs of one server.
  std::uint32_t width = 1;
  std::vector<std::vector<NicId>> units;  // Of `width` NICs each, in the order of the fabric.

  std::uint32_t size() const { return shape.size; }
  SwitchId switch_of(NicId nic) const { return fabric.at(nic).at; }
};

// Throws Error(invalid_argument) where the algorithm cannot serve these NICs: a server of a
// "twolevel" that takes part with some of its NICs only, or no NIC at all.
Problem make_problem(const Fabric& fabric, const Condition& condition, const Routes& routes,
                     const std::string& algorithm, First first);

// The algorithm that suits the fabric: "hd"; with several planes "twolevel".
std::string natural_algorithm(const Fabric& fabric);

// Seats of units in this order, lanes unset.
Seats seats_of(const Problem& problem, const std::vector<std::uint32_t>& unit_order);

}  // namespace accl::topology
