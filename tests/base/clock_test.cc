#include "accl/base/clock.h"

#include <gtest/gtest.h>

#include <thread>

namespace accl {
namespace {

TEST(Deadline, IsAheadUntilItsTime) {
  const Deadline deadline(Milliseconds(60'000));
  EXPECT_FALSE(deadline.passed());
  EXPECT_GT(deadline.left_ms(), 0);
  EXPECT_LE(deadline.left_ms(), 60'000);
}

TEST(Deadline, PassesAndThenNothingIsLeft) {
  const Deadline deadline(Milliseconds(5));
  std::this_thread::sleep_for(Milliseconds(6));
  EXPECT_TRUE(deadline.passed());
  EXPECT_EQ(deadline.left_ms(), 0);
}

TEST(Deadline, OfZeroOrLessHasPassedAtOnce) {
  EXPECT_TRUE(Deadline(Milliseconds(0)).passed());
  EXPECT_TRUE(Deadline(Milliseconds(-1000)).passed());
  EXPECT_EQ(Deadline(Milliseconds(-1000)).left_ms(), 0);
}

// A wait that rounds down would spin through its last millisecond with poll(..., 0).
TEST(Deadline, RoundsUpSoThatAWaitDoesNotEndEarly) {
  const Deadline deadline(Milliseconds(2));
  while (!deadline.passed()) {
    const int left_ms = deadline.left_ms();
    EXPECT_TRUE(left_ms >= 1 || deadline.passed()) << left_ms;
  }
}

TEST(Deadline, OfYearsFitsWhatPollTakes) {
  EXPECT_EQ(Deadline(std::chrono::hours(24 * 365)).left_ms(), 1'000'000'000);
}

}  // namespace
}  // namespace accl
