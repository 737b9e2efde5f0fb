#include "accl/base/assert.h"

#include <gtest/gtest.h>

namespace accl {
namespace {

TEST(Assert, PassesSilentlyAndEvaluatesItsConditionOnce) {
  int evaluated = 0;
  ACCL_ASSERT(++evaluated == 1, evaluated);
  EXPECT_EQ(evaluated, 1);
}

TEST(Assert, DoesNotFormatValuesWhileItHolds) {
  bool formatted = false;
  const auto value = [&] {
    formatted = true;
    return 1;
  };
  ACCL_ASSERT(true, value());
  EXPECT_FALSE(formatted);
}

TEST(AssertDeathTest, AbortsInReleaseTooAndPrintsPlaceConditionAndValues) {
  const int have = 3;
  const std::string who = "slot";
  EXPECT_EXIT(ACCL_ASSERT(have > 4, have, who), testing::KilledBySignal(SIGABRT),
              "assert_test\\.cc:[0-9]+: this must hold and does not: have > 4; 3 slot");
}

TEST(AssertDeathTest, NeedsNoValues) {
  EXPECT_EXIT(ACCL_ASSERT(1 + 1 == 3), testing::KilledBySignal(SIGABRT), "1 \\+ 1 == 3;");
}

}  // namespace
}  // namespace accl
