// tune_test.cc - what --tune makes of its measurements, and one real run whose table the library
// then takes.
#include "bench/perf/tune.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "accl/base/types.h"
#include "tests/perf/invocation.h"

namespace accl::perf {
namespace {

const std::vector<Choice> three{{"ring", 65536, 1}, {"ring", 0, 4}, {"hd", 131072, 2}};

TEST(TuningWinners, AreTheFastestAndStayWhileTheyAreAsGood) {
  const std::vector<TunedSize> sizes{{8, {3, 0, 2}},         // hd.
                                     {64, {2.00, 0, 2.08}},  // hd again: 4% is noise.
                                     {512, {2, 0, 3}},
                                     {4096, {9, 4, 4.1}}};  // Noise: the first.
  EXPECT_EQ(tuning_winners(sizes), (std::vector<std::size_t>{2, 2, 0, 1}));
}

TEST(TunedRules, JoinSizesOfOneChoiceAndServeAllAbove) {
  Options options;
  const std::vector<TunedSize> sizes{{1024, {1, 0, 2}}, {4096, {1, 0, 2}}, {65536, {9, 2, 4}}};
  std::istringstream rules{tuned_rules(options, 4, "shm", three, sizes)};
  std::string line;
  std::getline(rules, line);
  EXPECT_EQ(line, "allreduce       4-4     4K     shm        ring          64K    1");
  std::getline(rules, line);
  EXPECT_EQ(line, "allreduce       4-4     max    shm        ring          0      4");
  EXPECT_FALSE(std::getline(rules, line));
}

TEST(TunedRules, HaveOneRuleForEachClassOfSizes) {
  Options options;
  const std::vector<TunedSize> sizes{{4096, {1, 0, 2}}, {4096, {2, 0, 1}}, {8192, {1, 0, 2}}};
  const std::string rules = tuned_rules(options, 4, "shm", three, sizes);
  EXPECT_EQ(std::ranges::count(rules, '\n'), 2);
}

TEST(MergeRules, ReplaceTheirOwnAndStandBeforeAllOthers) {
  Options options;
  const std::string old =
      "# why\n"
      "allreduce 4-4 max shm ring 0 1\n"
      "allreduce 4-4 max tcp ring 0 2\n"
      "allreduce 2-max max any hd 0 1\n";
  EXPECT_EQ(merge_rules(old, options, 4, "shm", "NEW\n"),
            "# why\n"
            "NEW\n"
            "allreduce 4-4 max tcp ring 0 2\n"
            "allreduce 2-max max any hd 0 1\n");
  EXPECT_EQ(merge_rules("", options, 4, "shm", "NEW\n"), "NEW\n");
}

TEST(TuningCandidates, AreOfTheCollectiveAndFitTheRanks) {
  Options options;
  options.collective = Collective::broadcast;
  for (const Choice& choice : tuning_candidates(options, 3)) {
    EXPECT_NE(find_algorithm(Collective::broadcast, choice.algorithm), nullptr) << choice.algorithm;
  }
  options.algorithm = "tree";
  EXPECT_EQ(tuning_candidates(options, 3).size(), 18u);  // 6 slices, 3 in flight.
}

TEST(Tune, WritesATableThatServesTheNextRun) {
  const Scratch scratch;
  const std::string path = scratch.path("my.table");
  const Outcome made = run_perf({"allreduce", "--ranks", "2", "--tune", path, "--algo", "rd", "-b",
                                 "1K", "-e", "4K", "-f", "4", "-n", "2"});
  ASSERT_EQ(made.code, 0) << made.err;
  const SelectionTable table = SelectionTable::parse(read_whole(path), path);
  EXPECT_EQ(table.choose(Collective::allreduce, 2, 512, "shm").algorithm, "rd");
  const std::string json = scratch.path("out.json");
  const Outcome used =
      run_perf({"allreduce", "--ranks", "2", "-b", "1K", "-e", "1K", "-n", "2", "-J", json},
               {"ACCL_SELECTION=" + path});
  ASSERT_EQ(used.code, 0) << used.err;
  EXPECT_NE(read_whole(json).find("\"algorithm\": \"rd\""), std::string::npos);
}

TEST(Tune, AnAlgorithmThatDoesNotFitIsNamed) {
  const Outcome made = run_perf(
      {"reduce_scatter", "--ranks", "3", "--algo", "hd", "--tune", "-b", "64", "-e", "64"});
  EXPECT_EQ(made.code, 2);
  EXPECT_NE(made.err.find("--algo hd"), std::string::npos) << made.err;
}

TEST(Tune, APathThatCannotBeWrittenIsNamed) {
  const Outcome made = run_perf({"allreduce", "--ranks", "2", "--tune", "/nowhere/table", "--algo",
                                 "rd", "-b", "64", "-e", "64", "-n", "1"});
  EXPECT_EQ(made.code, 2);
  EXPECT_NE(made.err.find("/nowhere/table"), std::string::npos) << made.err;
}

TEST(Tune, ATableThatIsNoneIsNotTouched) {
  const Scratch scratch;
  const std::string path = scratch.write("bad.table", "allreduce 2-2 max shm magic 0 1\n");
  const Outcome made =
      run_perf({"allreduce", "--ranks", "2", "--tune", path, "-b", "64", "-e", "64", "-n", "1"});
  EXPECT_EQ(made.code, 2);
  EXPECT_NE(made.err.find("bad.table:1"), std::string::npos) << made.err;
  EXPECT_EQ(read_whole(path), "allreduce 2-2 max shm magic 0 1\n");
}

}  // namespace
}  // namespace accl::perf
