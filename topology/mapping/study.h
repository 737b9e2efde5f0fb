// study.h - what an algorithm costs on a fabric under an order of ranks: messages per cable in each
// step and the time by max-min fair sharing, beside the orders that people have today.
#pragma once

#include <string>
#include <vector>

#include "topology/contention/pace.h"
#include "topology/contention/time.h"
#include "topology/mapping/mapper.h"

namespace accl::topology {

// Whether a step begins when the one before has ended everywhere, or for each rank when its own
// has (contention/pace.h).
enum class Steps : std::uint8_t { together, free };

struct StudyOptions {
  std::uint64_t bytes = 256 << 20;  // Of the whole vector.
  std::uint32_t qps = 1;
  std::uint64_t seed = 1;  // Of shuffled orders and of the switches' hash.
  Steps steps = Steps::together;
  Slicing slicing{};                // Of steps that are free.
  const SeenPaths* seen = nullptr;  // Of the fabric; the rival has none. Outlives the studies.
};

struct Study {
  std::string order;      // "hdrm", "sorted", "shuffled", ...
  std::string algorithm;  // "hd", "ring", ...
  First first = First::near;
  std::string fabric;
  std::string note;       // How it was made, or why there are no figures.
  bool on_rival = false;  // On rival_of() the fabric, with all NICs that take part.
  StudyOptions options;
  Shape shape;
  Seats seats;
  Traffic traffic;
  std::vector<RoundLoad> rounds;
  double seconds = 0;
  double alone_seconds = 0;  // If no cable between switches were shared.

  double slowdown() const { return alone_seconds > 0 ? seconds / alone_seconds : 1; }
  double most() const { return most_of(rounds); }
  std::uint32_t occupied() const { return occupied_of(rounds); }
  bool is_counted() const { return seats.size() > 0; }
  // 2 (n-1)/n of the vector over the time, as nccl-tests counts; bytes per second.
  double bus_bandwidth(std::uint64_t bytes) const;
};

// An allreduce by this algorithm with its positions at these seats. Throws where the algorithm does
// not serve so many ranks, and for plans too large to count, or to follow rank by rank.
Study study(const Fabric& fabric, const Condition& condition, const std::string& algorithm,
            First first, const Seats& seats, const StudyOptions& options);

// How its messages go over its fabric.
Sending sending_of(const Study& study);

// Position k at the k-th NIC that takes part, nothing pinned: in the order of servers, as host
// files list them; switch by switch; by turns from both layers (a ring at its best); or shuffled by
// the seed, whole servers where the planes are apart.
Seats sorted_seats(const Condition& condition);
Seats switch_by_switch(const Fabric& fabric, const Condition& condition);
Seats alternating_seats(const Fabric& fabric, const Condition& condition);
Seats shuffled_seats(const Fabric& fabric, const Condition& condition, std::uint64_t seed);

// The leaf-spine network of as many NICs, at full bisection: leaves with as many NICs as the
// switches of this fabric have on average, and a spine for each.
Fabric rival_of(const Fabric& fabric, std::uint32_t nics);

// The map first, then what it must be compared with: halving-doubling over the sorted order, near
// and far first, and over a shuffled one, the ring, and the same on the rival with ECMP.
std::vector<Study> studies(const Fabric& fabric, const Condition& condition, const Mapping& mapping,
                           const StudyOptions& options);

}  // namespace accl::topology
