// pace.h - how long a whole plan takes where nobody waits for the steps of others: what a position
// sends in a round starts when all that it sends or receives in the rounds before has arrived. All
// flows that are under way at a time share their links max-min fairly (sharing.h).
//
// It is the same as round by round (time.h) where the messages of each round take equally long. It
// is mostly less elsewhere, but need not be: a message that starts sooner may take from one that
// others wait for.
#pragma once

#include <span>

#include "topology/contention/load.h"

namespace accl::topology {

// More cannot be followed one by one; with repeats.
constexpr std::uint64_t max_paced_messages = 1 << 20;

// Seconds from the first start to the last arrival. `rounds`: those of the traffic, routed. With
// the fabric's times for starts and hops.
double paced_seconds(const Fabric& fabric, const Traffic& traffic,
                     std::span<const RoutedRound> rounds, double bytes_per_chunk,
                     bool switches_are_free = false);

}  // namespace accl::topology
