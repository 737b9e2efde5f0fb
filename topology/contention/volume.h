// volume.h - the payload bytes of one whole call: between which positions, over which links.
// Counted from the steps of the plan and the sizes of its chunks, so exact where traffic.h rounds:
// chunks differ by one element where the vector does not divide.
#pragma once

#include <cstdint>
#include <vector>

#include "topology/contention/load.h"

namespace accl::topology {

struct PairVolume {
  Position from{};
  Position to{};
  std::uint64_t bytes = 0;
  std::uint64_t messages = 0;  // Of the plan: large data goes in slices, each of them so many.
};

// By sender, then by receiver. Messages without an element are not sent and not counted. The
// library cuts large vectors into slices first; that changes no sum, for all chunks of a slice but
// the last are of one length.
std::vector<PairVolume> volume_by_pair(const Algorithm& algorithm, const Shape& shape,
                                       std::uint64_t elements, std::uint32_t element_bytes);

// By LinkId. QPs share a message in near-equal elements.
std::vector<std::uint64_t> bytes_by_link(const Fabric& fabric, const Routes& routes,
                                         const Seats& seats, const std::vector<PairVolume>& pairs,
                                         const Sending& sending, std::uint32_t element_bytes);

// By LinkId: the most messages in a round.
std::vector<double> most_by_link(const Fabric& fabric, const Routes& routes, const Seats& seats,
                                 const Traffic& traffic, const Sending& sending);

}  // namespace accl::topology
