// Each system call of the set-up fails once: the k-th of its name in rank 1, for k = 1, 2, ...
// until the run is past the last. Every run ends in time: well, where the library can do without,
// or with one sentence. No crash, no hang.
//
// ACCL_FAULT_PLACES says how many places are tried of each call (1); 0: all there are.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cerrno>

#include "accl/base/units.h"
#include "tests/perf/invocation.h"

namespace accl::perf {
namespace {

constexpr std::chrono::seconds patience{30};
// More than any run has; a call that fails beyond its last place runs well so often in a row.
constexpr std::int64_t most_places = 400;
constexpr int good_in_a_row = 8;

struct Target {
  std::string call;
  int error = 0;
};

const std::vector<Target>& targets() {
  static const std::vector<Target> all{
      {"socket", EMFILE},        {"bind", EADDRINUSE},
      {"listen", EADDRINUSE},    {"connect", ENETUNREACH},
      {"connect", ECONNREFUSED}, {"accept4", EMFILE},
      {"getsockname", ENOBUFS},  {"setsockopt", ENOPROTOOPT},
      {"sendmsg", ENOBUFS},      {"recvmsg", ECONNRESET},
      {"epoll_create1", EMFILE}, {"epoll_ctl", ENOSPC},
      {"eventfd", EMFILE},       {"memfd_create", EMFILE},
      {"ftruncate", ENOSPC},     {"getrandom", ENOSYS},
      {"mmap", ENOMEM},
  };
  return all;
}

// One line from the launcher, which speaks for all ranks; warnings of the log do not count.
std::string sentence_of(const std::string& err) {
  std::string found;
  for (const std::string& line : split(err, '\n')) {
    if (line.starts_with("accl-perf: ")) found += (found.empty() ? "" : " | ") + line;
  }
  return found;
}

class FailingCalls : public testing::TestWithParam<std::tuple<std::string, Target>> {};

TEST_P(FailingCalls, EndInASentence) {
  const auto& [transport, target] = GetParam();
  const std::int64_t wanted = environment_number("ACCL_FAULT_PLACES", 1, 0, most_places);
  const std::int64_t limit = wanted != 0 ? wanted : most_places;
  int failed = 0, good = 0;
  std::int64_t k = 1;
  for (; k <= limit && good < good_in_a_row && !HasFailure(); ++k) {
    const std::string fail =
        "1 " + target.call + " " + std::to_string(k) + " " + std::to_string(target.error);
    Invocation invocation(perf_words({"allreduce", "--ranks", "3", "-b", "4K", "-e", "4K", "-n",
                                      "1", "-w", "0", "--transport", transport}),
                          {"LD_PRELOAD=" + environment_text("ACCL_FAILING_CALLS"),
                           "ACCL_FAIL=" + fail, "ACCL_TIMEOUT_MS=1500"});
    const Outcome outcome = invocation.wait(patience);
    const std::string what = fail + " over " + transport + ": " + outcome.err;
    good = outcome.code == 0 ? good + 1 : 0;
    failed += outcome.code == 0 ? 0 : 1;
    if (outcome.code == 0) continue;
    EXPECT_TRUE(outcome.code == 1 || outcome.code == 2) << outcome.code << " " << what;
    EXPECT_FALSE(sentence_of(outcome.err).empty()) << what;
    EXPECT_EQ(outcome.err.find("killed"), std::string::npos) << what;
    EXPECT_EQ(outcome.err.find("assert"), std::string::npos) << what;
  }
  printf("%s over %s: %d of %lld runs failed\n", target.call.c_str(), transport.c_str(), failed,
         static_cast<long long>(k - 1));
}

INSTANTIATE_TEST_SUITE_P(All, FailingCalls,
                         testing::Combine(testing::Values("shm", "tcp"),
                                          testing::ValuesIn(targets())),
                         [](const auto& info) {
                           const Target& target = std::get<1>(info.param);
                           return std::get<0>(info.param) + "_" + target.call +
                                  std::to_string(target.error);
                         });

}  // namespace
}  // namespace accl::perf
