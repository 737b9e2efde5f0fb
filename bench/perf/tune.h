// tune.h - `accl-perf COLLECTIVE --tune [FILE]`: measures every algorithm of the catalog with every
// sensible slice and number of slices in flight, and writes what won as a selection table.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "accl/communicator.h"
#include "algorithms/selection.h"
#include "bench/perf/cases.h"
#include "bench/perf/options.h"
#include "bench/perf/star.h"

namespace accl::perf {

// One row of the measurements: a size, and the time of each candidate (by number; 0: not measured).
struct TunedSize {
  std::uint64_t bytes = 0;  // As selection sees it, rounded up to a power of two.
  std::vector<double> us;
};

// What there is to try for this collective over so many ranks. Without --algo: all algorithms.
std::vector<Choice> tuning_candidates(const Options& options, std::uint32_t ranks);

// The winner of each size (a number of a candidate): of those that differ from the fastest by no
// more than noise, the one that the size before it has, or the first.
std::vector<std::size_t> tuning_winners(std::span<const TunedSize> sizes);

// Rules for these winners, largest sizes last, the last for all above.
std::string tuned_rules(const Options& options, std::uint32_t ranks, std::string_view transport,
                        std::span<const Choice> candidates, std::span<const TunedSize> sizes);

// `table` with the rules of this collective, for exactly these ranks and this transport, replaced.
std::string merge_rules(const std::string& table, const Options& options, std::uint32_t ranks,
                        std::string_view transport, const std::string& rules);

// Every rank's part; rank 0 prints and writes. Returns the exit code.
int tune(const Options& options, Star& star, Communicator& communicator,
         std::span<const Case> cases);

}  // namespace accl::perf
