// Every collective over numbers of ranks that are powers of two, even, odd and prime, on each
// transport, and under both kinds of mpirun. ACCL_SWEEP=all: every algorithm at every number.
#include <gtest/gtest.h>

#include "accl/base/units.h"
#include "algorithms/catalog.h"
#include "bench/perf/process.h"
#include "tests/perf/invocation.h"

namespace accl::perf {
namespace {

using Words = std::vector<std::string>;

// With 32 ranks on a machine of two cores a run takes seconds.
constexpr std::chrono::seconds patience{120};

bool is_whole() { return environment_text("ACCL_SWEEP") == "all"; }

Words collectives() {
  Words names;
  for (std::size_t i = 0; i < collective_count; ++i) {
    const auto collective = static_cast<Collective>(i);
    if (collective != Collective::alltoallv) names.emplace_back(name_of(collective));
  }
  return names;
}

void expect_exact(const Words& words, const std::string& what) {
  Invocation invocation(words);
  const Outcome outcome = invocation.wait(patience);
  EXPECT_EQ(outcome.code, 0) << what << ": " << outcome.err;
  EXPECT_NE(outcome.out.find("# Out of bounds values : 0 OK"), std::string::npos)
      << what << ": " << outcome.out;
}

class Sweep : public testing::TestWithParam<std::tuple<std::string, std::uint32_t>> {
 protected:
  Words words(const std::string& collective, const std::string& algorithm) const {
    const auto& [transport, ranks] = GetParam();
    return perf_words({collective, "--ranks", std::to_string(ranks), "-b", "4", "-e", "64K", "-f",
                       "128", "-n", "1", "-w", "0", "-r", "1", "--algo", algorithm, "--transport",
                       transport});
  }
  void run(const Algorithm& algorithm) const {
    const std::uint32_t ranks = std::get<1>(GetParam());
    const Words all =
        words(std::string(name_of(algorithm.collective)), std::string(algorithm.name));
    const std::string what = std::string(algorithm.name) + " " + all[1];
    if (algorithm.fits({.size = ranks, .width = ranks})) return expect_exact(all, what);
    Invocation invocation(all);
    const Outcome outcome = invocation.wait(patience);
    EXPECT_EQ(outcome.code, 2) << what;
    EXPECT_NE(outcome.err.find("does not work for"), std::string::npos) << what << outcome.err;
  }
};

TEST_P(Sweep, EveryCollectiveIsExact) {
  if (!is_whole() && std::get<1>(GetParam()) != 7) GTEST_SKIP() << "part of the full suite";
  for (const std::string& collective : collectives()) {
    expect_exact(words(collective, "auto"), collective);
  }
}

TEST_P(Sweep, EveryAlgorithmIsExact) {
  if (!is_whole()) GTEST_SKIP() << "part of the full suite";
  for (const Algorithm& algorithm : algorithms()) {
    if (algorithm.collective != Collective::alltoallv) run(algorithm);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Sweep,
                         testing::Combine(testing::Values("shm", "tcp"),
                                          testing::Values(2, 3, 6, 7, 12, 16, 32)),
                         [](const auto& info) {
                           return std::get<0>(info.param) + "_" +
                                  std::to_string(std::get<1>(info.param));
                         });

void sweep_under(const Words& names, const Words& flags) {
  if (!is_whole()) GTEST_SKIP() << "part of the full suite";
  const std::string mpirun = find_program(names);
  if (mpirun.empty()) GTEST_SKIP() << names.front() << " is not installed";
  for (const std::string& collective : collectives()) {
    Words words{mpirun, "-np", "4"};
    words.insert(words.end(), flags.begin(), flags.end());
    const Words perf = perf_words({collective, "-b", "4", "-e", "64K", "-f", "128", "-n", "1"});
    words.insert(words.end(), perf.begin(), perf.end());
    expect_exact(words, collective + " under " + names.front());
  }
}

TEST(SweepUnder, OpenMpi) {
  sweep_under({"mpirun.openmpi", "orterun"}, {"--allow-run-as-root", "--oversubscribe"});
}

TEST(SweepUnder, Mpich) { sweep_under({"mpirun.mpich", "mpiexec.hydra"}, {}); }

}  // namespace
}  // namespace accl::perf
