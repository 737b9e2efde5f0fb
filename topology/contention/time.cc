#include "topology/contention/time.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "accl/base/assert.h"
#include "topology/contention/sharing.h"

namespace accl::topology {
namespace {

constexpr double rounding = 1e-9;  // Relative: flows that end so close end together.

double latest(const Fabric& fabric, const RoutedRound& round, std::span<const double> arrivals) {
  double last = 0;
  for (std::size_t f = 0; f < arrivals.size(); ++f) {
    last = std::max(last, arrivals[f] + fabric.hop_seconds * round.flows[f].link_count);
  }
  return arrivals.empty() ? 0 : last + fabric.start_seconds;
}

}  // namespace

std::vector<double> arrivals_of(const Fabric& fabric, const RoutedRound& round,
                                double bytes_per_chunk, bool switches_are_free) {
  const std::size_t count = round.flows.size();
  std::vector<double> left(count);
  std::vector<double> arrivals(count);
  std::vector<std::uint32_t> active(count);
  std::iota(active.begin(), active.end(), 0u);
  Sharing sharing(fabric, switches_are_free);
  for (const std::uint32_t f : active) {
    left[f] = round.flows[f].chunks * bytes_per_chunk;
    sharing.add(f, round.path(round.flows[f]));
  }
  for (double now = 0; !active.empty();) {
    sharing.share(active);
    double seconds = std::numeric_limits<double>::infinity();
    for (const std::uint32_t f : active) seconds = std::min(seconds, left[f] / sharing.rate(f));
    now += seconds;
    const auto ends = [&](std::uint32_t f) {
      return left[f] <= sharing.rate(f) * seconds * (1 + rounding);
    };
    for (const std::uint32_t f : active) {
      if (!ends(f)) continue;
      arrivals[f] = now;
      sharing.remove(f);
    }
    const std::size_t before = active.size();
    std::erase_if(active, ends);
    ACCL_ASSERT(active.size() < before, before, now);
    for (const std::uint32_t f : active) left[f] -= sharing.rate(f) * seconds;
  }
  return arrivals;
}

RoundTime time_of(const Fabric& fabric, const RoutedRound& round, double bytes_per_chunk) {
  const std::vector<double> shared = arrivals_of(fabric, round, bytes_per_chunk);
  const std::vector<double> alone = arrivals_of(fabric, round, bytes_per_chunk, true);
  return {latest(fabric, round, shared), latest(fabric, round, alone)};
}

}  // namespace accl::topology
