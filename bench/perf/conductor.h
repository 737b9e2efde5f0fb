// conductor.h - rank 0's view of a measurement: it commands all players, and makes numbers of what
// they answer.
//
// Method. Each block starts with warm-up iterations and a barrier. Each rank then times batches of
// iterations by its own clock; a batch is long enough (20 us) that reading the clock does not
// count. `time` is the whole block over its iterations, averaged over ranks (-a). Median, minimum
// and maximum are over batches, of the slowest rank in each.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "bench/perf/cases.h"
#include "bench/perf/options.h"
#include "bench/perf/player.h"
#include "bench/perf/star.h"

namespace accl::perf {

// How many iterations a block has, and how many are timed as one.
struct Pace {
  std::uint64_t warmup = 1;
  std::uint64_t iterations = 1;
  std::uint64_t batch = 1;
};

struct Measurement {
  double time_us = 0;
  double median_us = 0;
  double min_us = 0;
  double max_us = 0;
  std::uint64_t iterations = 0;
  std::vector<std::vector<double>> by_rank_us;  // Of each batch.
  std::uint64_t wrong = 0;                      // Elements, over all ranks and checks.
  std::uint64_t outside = 0;                    // Bytes written where nothing may be written.
};

class Conductor {
 public:
  Conductor(Star& star, Player& player, const Options& options, std::span<const Case> cases);

  // Checks, times, checks again, as the options say. `between` runs after each block of the given
  // number: what is to be measured side by side.
  using Between = std::function<void(const Pace& pace, const Measurement& block)>;
  Measurement measure(std::uint32_t row, bool in_place, unsigned blocks = 1,
                      const Between& between = {});

  // What all ranks send in one iteration out of place; by sender, then receiver. For players that
  // count.
  std::vector<Flow> count(std::uint32_t row);

  // Ends the other ranks' play() with this exit code.
  void stop(std::uint32_t exit_code);

 private:
  Measurement block(std::uint32_t row, bool in_place, const Pace& pace);
  Pace find_pace(std::uint32_t row, bool in_place, unsigned blocks);
  void check(std::uint32_t row, bool in_place, Measurement& into);

  Star& star_;
  Player& player_;
  const Options& options_;
  std::span<const Case> cases_;
  std::uint64_t checks_ = 0;  // Calls checked before each measurement.
  std::uint64_t seed_ = 1;    // New for each check, so that old results are wrong results.
};

// A block of iterations that take this long each: about `block_us` in all, at most
// `most_iterations`.
Pace pace_for(double iteration_us, double block_us, std::uint64_t most_iterations);

// Every rank but 0: does what comes until stop, and returns its exit code.
int play(Star& star, Player& player);

// Of an unsorted, non-empty list.
double median(std::vector<double> values);

}  // namespace accl::perf
