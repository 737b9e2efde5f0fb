// compare.h - the cables that were planned against those that were seen: every difference once, as
// the mistake that somebody most likely made, and what puts it right.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "topology/cabling/ports.h"
#include "topology/check/observed.h"
#include "topology/fabric/fabric.h"

namespace accl::topology {

enum class Mistake : std::uint8_t {
  missing,       // Planned and not seen.
  extra,         // Seen and not planned.
  swapped,       // Two cables, each with an end where the other's belongs.
  wrong_port,    // One end at another port of the right device.
  wrong_switch,  // One end at another device.
  wrong_layer,   // The same, and of the other layer: then the parity rule of the ranks is broken.
  wrong_speed,   // Right place, other width or speed.
  contradiction  // One port is said to be at two places.
};
std::string_view name_of(Mistake mistake);

struct Finding {
  Mistake mistake{};
  std::vector<CableId> cables;  // Those that are not as planned.
  std::string what;
  std::string fix;
  std::string place;  // Where it was read; empty of what is missing.
};

struct Comparison {
  std::vector<Finding> findings;  // In the order of the cables; what is extra comes last.
  std::size_t planned = 0;
  std::size_t right = 0;
  std::size_t ignored = 0;  // Links of which no end is a port of the fabric, such as management.
  bool matches() const { return findings.empty(); }
};

Comparison compare(const Fabric& fabric, const Ports& ports, const Observation& seen);

}  // namespace accl::topology
