// draw.h - a round of messages as a picture of characters.
#pragma once

#include <string>

#include "topology/contention/load.h"

namespace accl::topology {

// Two grids side by side, messages from the upper layer down and from the lower layer up: a row an
// upper switch, a column a lower one, in each place the messages on the busiest cable of the two.
// Empty for fabrics without two layers, or with more than 64 switches in one.
std::string draw_round(const Fabric& fabric, const RoutedRound& round);

}  // namespace accl::topology
