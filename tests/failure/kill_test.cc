// A rank dies or stops at any moment: every other rank's call returns an error that names that
// rank, in time; nothing is left behind.
//
// ACCL_FAILURE_MOMENTS says how many moments are tried in each situation (1).
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <random>

#include "accl/base/units.h"
#include "tests/failure/cast.h"

namespace accl::test {
namespace {

// A verdict is due within a second; under a sanitizer, which slows every rank, within five.
std::int64_t verdict_ms() {
  return environment_text("ACCL_TEST_FIXED_ADDRESSES").empty() ? 1000 : 5000;
}
constexpr int patience_ms = 30'000;
constexpr int stop_timeout_ms = 1500;

std::uint64_t moments() {
  return static_cast<std::uint64_t>(environment_number("ACCL_FAILURE_MOMENTS", 1, 1, 1000));
}

struct Blow {
  std::uint32_t victim = 0;
  int signal = SIGKILL;
  useconds_t after_us = 0;
};

std::string describe(const Plot& plot, const Blow& blow) {
  return fmt::format("{} of {} over {} ({} ranks), signal {} to rank {} after {} us", plot.call,
                     plot.count, plot.transport, plot.ranks, blow.signal, blow.victim,
                     blow.after_us);
}

// Whether a sentence names this rank first, and so puts the blame on it.
bool blames(const std::string& text, std::uint32_t rank) {
  const std::string name = fmt::format("rank {}", rank);
  const std::size_t at = text.find("rank ");
  const bool is_named = at != text.npos && text.compare(at, name.size(), name) == 0 &&
                        (at + name.size() == text.size() || !isdigit(text[at + name.size()]));
  // Before the ranks know each other, rank 0 is "the root" to them.
  return is_named || (rank == 0 && text.find("the root at") != text.npos);
}

// Every survivor says so in time. `due_ms` is when the verdict is due at the latest; `root_files`
// descriptors may stay open at rank 0.
void expect_verdict(Crew& crew, const Blow& blow, std::int64_t due_ms, int root_files,
                    const std::string& what) {
  for (std::uint32_t rank = 0; rank < crew.size(); ++rank) {
    if (rank == blow.victim) continue;
    const Ending ending = hear_ending(crew, rank, patience_ms);
    ASSERT_TRUE(ending.is_heard) << what << ": rank " << rank << ": " << ending.text;
    EXPECT_NE(ending.result, ACCL_SUCCESS) << what << ": rank " << rank;
    EXPECT_TRUE(blames(ending.text, blow.victim))
        << what << ": rank " << rank << ": " << ending.text;
    EXPECT_LE(ending.at_ms, due_ms) << what << ": rank " << rank << " was " << ending.at_ms - due_ms
                                    << " ms late: " << ending.text;
    EXPECT_LE(ending.left_open, rank == 0 ? root_files : 0) << what << ": rank " << rank;
  }
}

// `waits` until all have a communicator; otherwise the blow may fall while they still join.
void strike(const Plot& plot, const Blow& blow, bool waits) {
  const UniqueId id = fresh_id();
  Crew crew(plot.ranks, [&](Stage& stage) { return perform(plot, id, stage); });
  if (waits) {
    for (std::uint32_t rank = 0; rank < plot.ranks; ++rank) {
      ASSERT_EQ(crew.hear(rank, patience_ms), "ready") << describe(plot, blow);
    }
  }
  crew.tell_all("go");
  ::usleep(blow.after_us);
  const std::int64_t struck_ms = now_ms();
  crew.signal(blow.victim, blow.signal);
  const bool is_timed = blow.signal == SIGSTOP || !waits;
  const std::int64_t due_ms = struck_ms + verdict_ms() + (is_timed ? plot.timeout_ms : 0);
  // A root stays a while where the start failed, to tell those who come late, and until every rank
  // has taken its last word.
  expect_verdict(crew, blow, due_ms, waits ? 0 : 4, describe(plot, blow));
}

void expect_no_litter() { EXPECT_EQ(litter(), std::vector<std::string>{}); }

using Situation = std::tuple<std::string, std::string>;  // Transport, call.

class Killed : public testing::TestWithParam<Situation> {
 protected:
  Plot plot() const {
    Plot plot;
    plot.transport = std::get<0>(GetParam());
    plot.call = std::get<1>(GetParam());
    return plot;
  }
  // A seed of its own for each situation.
  std::mt19937_64 random() const {
    std::uint64_t seed = 0;
    for (const char c : std::get<0>(GetParam()) + std::get<1>(GetParam())) {
      seed = seed * 31 + static_cast<unsigned char>(c);
    }
    return std::mt19937_64(seed);
  }
};

TEST_P(Killed, InsideOfCallsIsNamedByAll) {
  std::mt19937_64 random = this->random();
  for (std::uint64_t i = 0; i < moments() && !HasFailure(); ++i) {
    Plot plot = this->plot();
    plot.count = std::array<std::size_t, 3>{10, 3000, 300'000}[random() % 3];
    const Blow blow{.victim = static_cast<std::uint32_t>(random() % plot.ranks),
                    .after_us = static_cast<useconds_t>(random() % 40'000)};
    strike(plot, blow, true);
  }
  expect_no_litter();
}

// The first call opens the connections: within its first millisecond or so.
TEST_P(Killed, WhileConnectionsOpenIsNamedByAll) {
  std::mt19937_64 random = this->random();
  for (std::uint64_t i = 0; i < moments() && !HasFailure(); ++i) {
    Plot plot = this->plot();
    plot.ranks = 6;
    const Blow blow{.victim = static_cast<std::uint32_t>(random() % plot.ranks),
                    .after_us = static_cast<useconds_t>(random() % 2000)};
    strike(plot, blow, true);
  }
  expect_no_litter();
}

TEST_P(Killed, WhileOthersWaitForItIsNamedByAll) {
  std::mt19937_64 random = this->random();
  Plot plot = this->plot();
  plot.absent = static_cast<std::int64_t>(random() % plot.ranks);
  const Blow blow{.victim = static_cast<std::uint32_t>(plot.absent),
                  .after_us = static_cast<useconds_t>(random() % 100'000)};
  strike(plot, blow, true);
}

TEST_P(Killed, OrStoppedBeyondTheTimeOutIsNamedByAll) {
  const bool is_sample = plot().call == "allreduce" || plot().call == "started";
  if (moments() == 1 && !is_sample) GTEST_SKIP() << "the full suite stops ranks in every call";
  std::mt19937_64 random = this->random();
  Plot plot = this->plot();
  plot.timeout_ms = stop_timeout_ms;
  const Blow blow{.victim = static_cast<std::uint32_t>(random() % plot.ranks),
                  .signal = SIGSTOP,
                  .after_us = static_cast<useconds_t>(random() % 20'000)};
  strike(plot, blow, true);
}

INSTANTIATE_TEST_SUITE_P(Everywhere, Killed,
                         testing::Combine(testing::Values("shm", "tcp"),
                                          testing::ValuesIn(call_names())),
                         [](const auto& info) {
                           return std::get<0>(info.param) + "_" + std::get<1>(info.param);
                         });

// From the first instruction on.
TEST(Joining, ARankThatDiesIsNamedByAll) {
  std::mt19937_64 random(7);
  for (std::uint64_t i = 0; i < 4 * moments() && !testing::Test::HasFailure(); ++i) {
    Plot plot;
    plot.timeout_ms = stop_timeout_ms;
    const Blow blow{.victim = static_cast<std::uint32_t>(random() % plot.ranks),
                    .after_us = static_cast<useconds_t>(random() % 30'000)};
    strike(plot, blow, false);
  }
  expect_no_litter();
}

TEST(Joining, ARankThatStopsIsNamedByAll) {
  std::mt19937_64 random(8);
  for (std::uint64_t i = 0; i < moments() && !testing::Test::HasFailure(); ++i) {
    Plot plot;
    plot.timeout_ms = stop_timeout_ms;
    const Blow blow{.victim = 1 + static_cast<std::uint32_t>(random() % (plot.ranks - 1)),
                    .signal = SIGSTOP,
                    .after_us = static_cast<useconds_t>(random() % 30'000)};
    strike(plot, blow, false);
  }
}

// The first call of all, with a stopped rank among them: nobody has a connection yet.
TEST(Opening, ARankThatStoppedBeforeIsNamedByAll) {
  for (const char* transport : {"shm", "tcp"}) {
    for (std::uint32_t victim = 0; victim < 5; victim += moments() == 1 ? 5 : 1) {
      Plot plot;
      plot.ranks = 5;
      plot.transport = transport;
      plot.algorithm = "ring";
      plot.timeout_ms = stop_timeout_ms;
      plot.absent = victim;
      strike(plot, {.victim = victim, .signal = SIGSTOP}, true);
    }
  }
}

TEST(GoodRuns, LeaveNothingOpen) {
  for (const std::string& call : call_names()) {
    Plot plot;
    plot.call = call;
    plot.most_calls = 20;
    const UniqueId id = fresh_id();
    Crew crew(plot.ranks, [&](Stage& stage) { return perform(plot, id, stage); });
    crew.tell_all("go");
    for (std::uint32_t rank = 0; rank < plot.ranks; ++rank) {
      const Ending ending = hear_ending(crew, rank, patience_ms);
      EXPECT_EQ(ending.result, ACCL_SUCCESS) << call << ": " << ending.text;
      EXPECT_EQ(ending.left_open, 0) << call << " on rank " << rank;
    }
  }
  expect_no_litter();
}

}  // namespace
}  // namespace accl::test
