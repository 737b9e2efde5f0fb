// bill.h - what a planned cluster needs bought, and what a fat tree of the same size would need.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "topology/cabling/plan.h"

namespace accl::topology {

struct BillLine {
  std::string item;     // "switch", "cable", "transceiver".
  std::string model;    // Of a switch its model, of the others the type of the cable.
  double length_m = 0;  // Of a cable; 0: not planned.
  std::uint64_t count = 0;
  double unit_price = 0;  // 0: nobody said.
};

// Of the planned fabric: switches, then cables by type and length, then transceivers.
std::vector<BillLine> bill_of(const Fabric& fabric, const CablingPlan& plan);

// How many of what a network takes; cables between switches apart from those of NICs.
struct Counts {
  std::uint32_t levels = 0;  // Of switches.
  std::uint64_t switches = 0;
  std::uint64_t nic_cables = 0;
  std::uint64_t switch_cables = 0;
};

Counts counts_of(const Fabric& fabric);

// Ports of the switches: as the spec says, or else the most that one of them uses.
std::uint32_t radix_of(const Fabric& fabric);

// The smallest fat tree with full bisection (as many cables up as down at every level) for the
// NICs of a plane, times the planes. At most three levels; nothing where those do not suffice.
std::optional<Counts> fat_tree_counts(const Fabric& fabric);
std::optional<Counts> fat_tree_counts(std::uint64_t nics, std::uint64_t radix);

}  // namespace accl::topology
