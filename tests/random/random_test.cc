// Random collectives: many jobs of several processes, each with several communicators driven at the
// same time, through the C interface. Data is such that any order of summation is exact; every
// element is checked.
//
// ACCL_RANDOM_CALLS says how many collectives to run (1500); ACCL_RANDOM_SEED runs the one job that
// a failure named.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "accl/base/units.h"
#include "bench/perf/pattern.h"
#include "tests/bootstrap/crew.h"
#include "tests/random/play.h"

namespace accl::test {
namespace {

constexpr std::int64_t most_calls = 1'000'000'000;
constexpr std::uint32_t calls_per_communicator = 150;
constexpr int patience_ms = 180'000;

// Collectives that the job ran.
std::int64_t run_job(std::uint64_t seed) {
  Script script;
  script.job = draw_job(seed);
  script.calls = calls_per_communicator;
  const std::size_t communicators = script.job.algorithms.size();
  for (std::size_t i = 0; i < communicators; ++i) script.ids.push_back(fresh_id());
  Crew crew(script.job.ranks, [&](Stage& stage) {
    const std::string problem = play(script, stage.rank());
    return problem.empty() ? "good" : problem;
  });
  for (const std::string& line : crew.hear_all(patience_ms)) {
    EXPECT_EQ(line, "good") << fmt::format(
        "{} ranks over {}; run it again with ACCL_RANDOM_SEED={}", script.job.ranks,
        script.job.transport, seed);
  }
  return static_cast<std::int64_t>(communicators * calls_per_communicator);
}

TEST(Random, CollectivesAreExact) {
  const std::int64_t one = environment_number("ACCL_RANDOM_SEED", -1, 0, most_calls);
  if (one >= 0) {
    run_job(static_cast<std::uint64_t>(one));
    return;
  }
  const std::int64_t wanted = environment_number("ACCL_RANDOM_CALLS", 1500, 1, most_calls);
  std::int64_t calls = 0, jobs = 0;
  while (calls < wanted && !HasFailure()) {
    calls += run_job(static_cast<std::uint64_t>(jobs));
    ++jobs;
  }
  fmt::print("{} collectives in {} jobs\n", calls, jobs);
}

// The check itself: a bit that is flipped in the data shows as a wrong element.
TEST(Random, AWrongElementIsSeen) {
  const perf::PatternKey key{.type = DataType::float32, .ranks = 2, .elements = 100};
  std::vector<std::byte> data(400);
  perf::Pattern::moved(key, Rank{1}).fill(data, 0);
  EXPECT_EQ(perf::Pattern::moved(key, Rank{1}).count_wrong(data, 0), 0u);
  EXPECT_EQ(perf::Pattern::moved(key, Rank{0}).count_wrong(data, 0), 100u);
  data[77] ^= std::byte{1};
  EXPECT_EQ(perf::Pattern::moved(key, Rank{1}).count_wrong(data, 0), 1u);
}

}  // namespace
}  // namespace accl::test
