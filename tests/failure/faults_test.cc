// "Fail the k-th call, for k = 1, 2, ... until nothing fails": accl-perf with each fault of the
// fault transport at each place. Every run ends in time: with exact results, with wrong elements
// that the check found, or with a sentence that names a rank. Never a hang, never silence.
//
// ACCL_FAULT_PLACES says how many places are tried of each fault (1); 0: all there are.
#include <gtest/gtest.h>

#include "accl/base/units.h"
#include "tests/perf/invocation.h"

namespace accl::perf {
namespace {

constexpr std::chrono::seconds patience{30};
constexpr std::int64_t most_places = 2000;

struct Kind {
  std::string name;
  std::string needs = {};   // What stderr says.
  bool is_wrong = false;    // Wrong elements, instead.
  bool is_certain = false;  // A run that is well is past the last place.
  std::int64_t step = 1;    // Where a run takes seconds, not every place is tried.
};

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all{
      {.name = "flip", .is_wrong = true},  // Nobody checks the bytes of a barrier.
      // In shared memory the next message announces the lost one as well.
      {.name = "drop", .needs = "rank", .step = 3},
      {.name = "delay"},
      {.name = "refuse"},
      {.name = "break", .needs = "the connection between rank", .is_certain = true},
      {.name = "die", .needs = "rank 1 (pid ", .is_certain = true},
      {.name = "stop", .needs = "rank 1 (host ", .is_certain = true, .step = 9},
      {.name = "skip_release", .needs = "rank", .step = 5},
      {.name = "truncate", .needs = "rank", .step = 3},
  };
  return all;
}

Outcome run_with(const Kind& kind, std::int64_t k, const std::string& transport) {
  const std::string fault = kind.name + ":" + std::to_string(k);
  Invocation invocation(
      perf_words({"allreduce", "--ranks", "2", "-b", "4K", "-e", "4K", "-n", "1", "-w", "0",
                  "--algo", "ring", "--fault", fault, "--transport", transport}),
      {"ACCL_TIMEOUT_MS=400"});
  return invocation.wait(patience);
}

// True where the run did not meet the fault.
bool expect_good_end(const Kind& kind, const Outcome& outcome, const std::string& what) {
  if (outcome.code == 0) {
    EXPECT_NE(outcome.out.find("# Out of bounds values : 0 OK"), std::string::npos) << what;
    return true;
  }
  EXPECT_EQ(outcome.code, 1) << what << ": " << outcome.err;
  if (kind.is_wrong) {
    EXPECT_NE(outcome.out.find("FAILED"), std::string::npos) << what << ": " << outcome.out;
  } else {
    EXPECT_NE(outcome.err.find(kind.needs), std::string::npos) << what << ": " << outcome.err;
    EXPECT_FALSE(kind.needs.empty()) << what << " must not fail: " << outcome.err;
  }
  return false;
}

class Faults : public testing::TestWithParam<std::tuple<std::string, Kind>> {};

TEST_P(Faults, EndWellAtEveryPlace) {
  const auto& [transport, kind] = GetParam();
  const std::int64_t wanted = environment_number("ACCL_FAULT_PLACES", 1, 0, most_places);
  // What may end well anywhere has no last place: of those a number of seeds is tried.
  const std::int64_t limit = wanted != 0 ? wanted : kind.is_certain ? most_places : 30;
  std::int64_t tried = 0, failed = 0, k = 1;
  for (; tried < limit && !HasFailure(); k += kind.step, ++tried) {
    const std::string what = kind.name + ":" + std::to_string(k) + " over " + transport;
    const bool is_past = expect_good_end(kind, run_with(kind, k, transport), what);
    if (is_past && kind.is_certain) break;
    failed += is_past ? 0 : 1;
  }
  EXPECT_LT(k, most_places) << "the fault is still met there";
  // A fault that is never met shows nothing.
  EXPECT_TRUE(failed > 0 || !(kind.is_certain || kind.is_wrong));
  RecordProperty("last_place", static_cast<int>(k));
  printf("%s over %s: %lld places, up to %lld, %lld runs failed\n", kind.name.c_str(),
         transport.c_str(), static_cast<long long>(tried), static_cast<long long>(k),
         static_cast<long long>(failed));
}

INSTANTIATE_TEST_SUITE_P(
    All, Faults, testing::Combine(testing::Values("shm", "tcp"), testing::ValuesIn(kinds())),
    [](const auto& info) { return std::get<0>(info.param) + "_" + std::get<1>(info.param).name; });

}  // namespace
}  // namespace accl::perf
