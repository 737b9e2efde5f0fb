#include "accl/base/fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <type_traits>

namespace accl {
namespace {

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) != -1; }

int open_null() { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }

static_assert(!std::is_copy_constructible_v<Fd> && !std::is_copy_assignable_v<Fd>);
static_assert(!std::is_convertible_v<int, Fd>, "taking over a descriptor must be said");

TEST(Fd, ClosesWhatItOwns) {
  int raw = -1;
  {
    const Fd fd(open_null());
    raw = fd.get();
    ASSERT_TRUE(fd);
    EXPECT_TRUE(is_open(raw));
  }
  EXPECT_FALSE(is_open(raw));
}

TEST(Fd, OwnsNothingByDefault) {
  const Fd fd;
  EXPECT_FALSE(fd);
  EXPECT_EQ(fd.get(), -1);
}

TEST(Fd, MovesItsDescriptorAndClosesTheOneItReplaces) {
  Fd first(open_null());
  Fd second(open_null());
  const int kept = first.get();
  const int replaced = second.get();
  second = std::move(first);
  EXPECT_EQ(second.get(), kept);
  EXPECT_TRUE(is_open(kept));
  EXPECT_FALSE(is_open(replaced));
  const Fd third(std::move(second));
  EXPECT_EQ(third.get(), kept);
  EXPECT_TRUE(is_open(kept));
}

TEST(Fd, SurvivesBeingMovedOntoItself) {
  Fd fd(open_null());
  Fd& same = fd;
  fd = std::move(same);
  ASSERT_TRUE(fd);
  EXPECT_TRUE(is_open(fd.get()));
}

TEST(Fd, ReleaseHandsOverWithoutClosing) {
  Fd fd(open_null());
  const int raw = fd.release();
  EXPECT_FALSE(fd);
  EXPECT_TRUE(is_open(raw));
  ::close(raw);
}

TEST(Fd, ResetClosesAndTakesAnother) {
  Fd fd(open_null());
  const int before = fd.get();
  const int after = open_null();
  fd.reset(after);
  EXPECT_FALSE(is_open(before));
  EXPECT_EQ(fd.get(), after);
  fd.reset();
  EXPECT_FALSE(is_open(after));
}

}  // namespace
}  // namespace accl
