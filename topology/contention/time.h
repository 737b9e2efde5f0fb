// time.h - how long a round of messages takes when its flows share every link max-min fairly
// (sharing.h); when a flow has ended, the rest is shared anew.
#pragma once

#include "topology/contention/load.h"

namespace accl::topology {

struct RoundTime {
  double seconds = 0;        // From the first start to the last arrival.
  double alone_seconds = 0;  // The same if the cables between switches were never shared.
};

// `bytes_per_chunk`: of the vector. With the fabric's times for starts and hops.
RoundTime time_of(const Fabric& fabric, const RoutedRound& round, double bytes_per_chunk);

// Seconds after which each flow has arrived, without starts and hops.
std::vector<double> arrivals_of(const Fabric& fabric, const RoutedRound& round,
                                double bytes_per_chunk, bool switches_are_free = false);

}  // namespace accl::topology
