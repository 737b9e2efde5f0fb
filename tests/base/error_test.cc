#include "accl/base/error.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <functional>

#include "accl/accl.h"

namespace accl {
namespace {

Error caught(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return {ErrorKind::system, ""};
}

TEST(Error, CarriesItsKindAndAFormattedText) {
  const Error error =
      caught([] { fail(ErrorKind::invalid_usage, "{} has {} ranks", "host-a", 3); });
  EXPECT_EQ(error.kind(), ErrorKind::invalid_usage);
  EXPECT_STREQ(error.what(), "host-a has 3 ranks");
}

TEST(Error, OfTheSystemNamesTheThingAndTheCause) {
  const Error error = caught([] { fail_system("/dev/shm/x", ENOSPC); });
  EXPECT_EQ(error.kind(), ErrorKind::system);
  EXPECT_STREQ(error.what(), "/dev/shm/x: No space left on device");
}

TEST(Error, KindsAreTheNumbersOfTheCInterface) {
  const auto number = [](ErrorKind kind) { return static_cast<int>(kind); };
  EXPECT_EQ(number(ErrorKind::invalid_argument), ACCL_INVALID_ARGUMENT);
  EXPECT_EQ(number(ErrorKind::invalid_usage), ACCL_INVALID_USAGE);
  EXPECT_EQ(number(ErrorKind::system), ACCL_SYSTEM_ERROR);
  EXPECT_EQ(number(ErrorKind::remote), ACCL_REMOTE_ERROR);
  EXPECT_EQ(number(ErrorKind::timeout), ACCL_TIMEOUT);
  EXPECT_EQ(number(ErrorKind::aborted), ACCL_ABORTED);
}

}  // namespace
}  // namespace accl
