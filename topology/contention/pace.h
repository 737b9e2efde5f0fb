// pace.h - how long a whole plan takes where nobody waits for the steps of others: what a position
// sends in a round starts when all that it sends or receives in the rounds before has arrived. All
// flows that are under way at a time share their links max-min fairly (sharing.h).
//
// It is the same as round by round (time.h) where the messages of each round take equally long. It
// is mostly less elsewhere, but need not be: a message that starts sooner may take from one that
// others wait for.
//
// A vector may be cut into slices, each a plan of its own for its share of the bytes. So many of
// them at a time are in flight at a position: slice k starts there when slice k - in_flight has
// ended there. With one in flight they follow each other; more fill each other's waits. What a
// position sends, it sends in the order in which it came to it: a message of another slice that is
// ready later has what the earlier ones leave (Turn, in sharing.h).
#pragma once

#include <span>

#include "topology/contention/load.h"

namespace accl::topology {

// More cannot be followed one by one; with repeats, and in all slices.
constexpr std::uint64_t max_paced_messages = 1 << 20;

struct Slicing {
  std::uint32_t slices = 1;     // At least 1, equal shares of every message.
  std::uint32_t in_flight = 1;  // At least 1.
  // What a position sent keeps it from its next round until it has arrived; else only what it
  // receives does, as where the library or the kernel holds a copy of what is on its way.
  bool awaits_sends = true;
};

// Seconds from the first start to the last arrival. `rounds`: those of the traffic, routed. With
// the fabric's times for starts and hops.
double paced_seconds(const Fabric& fabric, const Traffic& traffic,
                     std::span<const RoutedRound> rounds, double bytes_per_chunk,
                     const Slicing& slicing = {}, bool switches_are_free = false);

}  // namespace accl::topology
