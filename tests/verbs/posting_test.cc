// posting_test.cc - what happens between put() and the device: no allocation, no lock, no system
// call, and no call of the driver but the post itself.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "tests/transport/member.h"
#include "tests/verbs/alone.h"

namespace {

thread_local std::uint64_t locks = 0;

}  // namespace

// The sanitizers have locks of their own in its place.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
extern "C" __attribute__((visibility("default"))) int pthread_mutex_lock(pthread_mutex_t* mutex) {
  static const auto next =
      reinterpret_cast<decltype(&pthread_mutex_lock)>(::dlsym(RTLD_NEXT, "pthread_mutex_lock"));
  ++locks;
  return next(mutex);
}
#endif

namespace accl::test {
namespace {

constexpr std::uint32_t puts = 20'000;

class VerbsPosting : public testing::TestWithParam<std::uint32_t> {
 protected:
  static std::string library() {
    const char* const path = std::getenv("ACCL_FAKE_VERBS");
    return path != nullptr ? path : "";
  }
};

TEST_P(VerbsPosting, AllocatesNothingAndTakesNoLock) {
  AloneChannel alone(library());
  const std::vector<std::byte> payload(GetParam());
  const std::uint64_t before = locks;
  {
    const AllocationCheck check;
    for (std::uint32_t i = 0; i < puts; ++i) alone.put(i % 4, payload);
    alone.channel().poll();
  }
  EXPECT_EQ(locks, before);
  EXPECT_EQ(NullDevice::posted(), puts) << "one request a message, and nothing besides";
}

// In strict mode the kernel kills whoever calls it for anything but to read, write or exit.
TEST_P(VerbsPosting, CallsNoKernel) {
  AloneChannel alone(library());
  const std::vector<std::byte> payload(GetParam());
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) ::_exit(2);
    for (std::uint32_t i = 0; i < puts; ++i) alone.put(i % 4, payload);
    alone.channel().poll();
    ::syscall(SYS_exit, 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 2) GTEST_SKIP() << "no seccomp here";
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

// What a receiver does for a payload in its place: the grant is one request, and all else is free.
TEST(VerbsReceiving, AllocatesNothingAndTakesNoLock) {
  AloneChannel alone(std::getenv("ACCL_FAKE_VERBS"));
  std::vector<std::byte> target(100'000);
  const auto claim = alone.know(target);
  alone.put(0, target);
  const std::uint64_t posted = NullDevice::posted();
  const std::uint64_t before = locks;
  std::uint32_t placed = 0;
  {
    const AllocationCheck check;
    for (std::uint32_t i = 0; i < puts; ++i) placed += alone.receive(i % 4, target, true);
  }
  EXPECT_EQ(locks, before);
  EXPECT_EQ(placed, puts);
  const std::uint64_t releases = NullDevice::posted() - posted - placed;
  EXPECT_GT(releases, 0U);
  EXPECT_LE(releases, puts) << "which any message has";
}

TEST(VerbsReceiving, CallsNoKernel) {
  AloneChannel alone(std::getenv("ACCL_FAKE_VERBS"));
  std::vector<std::byte> target(100'000);
  const auto claim = alone.know(target);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) ::_exit(2);
    bool is_placed = true;
    for (std::uint32_t i = 0; i < puts; ++i) {
      is_placed = alone.receive(i % 4, target, true) && is_placed;
    }
    ::syscall(SYS_exit, is_placed ? 0 : 3);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 2) GTEST_SKIP() << "no seccomp here";
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

INSTANTIATE_TEST_SUITE_P(Sizes, VerbsPosting, testing::Values(8U, 112U, 4096U, 100'000U));

}  // namespace
}  // namespace accl::test
