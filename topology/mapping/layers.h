// layers.h - the units of a problem by layer and switch, as closed forms and searches deal them
// out.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "topology/mapping/problem.h"

namespace accl::topology {

// The units of one layer (by the layer of their first NIC), switch by switch.
struct Layer {
  std::vector<std::vector<std::uint32_t>> switches;  // Of those that hold units: their units.

  std::uint32_t units() const;
  std::vector<std::uint32_t> in_order() const;  // Switch by switch.
  // So many units at every switch; 0 where they differ.
  std::uint32_t fill() const;
};

// Upper and lower. Units at switches of no layer count as upper.
std::array<Layer, 2> layers_of(const Problem& problem);

// Places of a halving-doubling of `size` units: 2f exchanges in a ring times 2^m, or folded.
struct Places {
  explicit Places(std::uint32_t size);

  std::uint32_t ring = 2;       // 2f: the digit that a ring serves. 1 for a single unit.
  std::uint32_t exchanges = 0;  // m: bits above it.
  std::uint32_t folded = 0;     // Pairs 2i, 2i+1 below this number are one.

  // The layer on which a place sits so that every step crosses: 0 upper, 1 lower.
  std::uint32_t layer(std::uint32_t place) const;
  // Orders places of a layer so that neighbours share a switch.
  std::uint64_t upper_key(std::uint32_t place) const;
  std::uint64_t lower_key(std::uint32_t place) const;

 private:
  std::uint32_t core(std::uint32_t place) const;
};

}  // namespace accl::topology
