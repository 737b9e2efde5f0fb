// accl-perf as people run it: real ranks, real transports, real launchers.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "accl/base/units.h"
#include "bench/perf/process.h"
#include "tests/perf/invocation.h"

namespace accl::perf {
namespace {

using Words = std::vector<std::string>;

// The rows of a table, as words.
std::vector<Words> rows_of(const std::string& out) {
  std::vector<Words> rows;
  for (const std::string& line : split(out, '\n')) {
    if (line.empty() || line.front() == '#') continue;
    Words words;
    for (std::string& word : split(line, ' ')) {
      if (!word.empty()) words.push_back(std::move(word));
    }
    rows.push_back(std::move(words));
  }
  return rows;
}

// Every row has nccl-tests' 13 columns and no wrong element.
void expect_good(const Outcome& outcome, std::size_t rows) {
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("# Out of bounds values : 0 OK"), std::string::npos) << outcome.out;
  const std::vector<Words> all = rows_of(outcome.out);
  EXPECT_EQ(all.size(), rows) << outcome.out;
  for (const Words& row : all) {
    ASSERT_EQ(row.size(), 13u) << outcome.out;
    EXPECT_EQ(row[8], "0") << outcome.out;
    EXPECT_TRUE(row[12] == "0" || row[12] == "N/A") << outcome.out;
  }
}

class Transports : public testing::TestWithParam<std::string> {};

TEST_P(Transports, AllreduceIsExact) {
  expect_good(run_perf({"allreduce", "--ranks", "3", "-b", "4", "-e", "1M", "-f", "4", "-n", "5",
                        "--algo", "ring", "--transport", GetParam()}),
              10);
}

TEST_P(Transports, AFlippedBitIsFound) {
  const Outcome outcome = run_perf({"allreduce", "--ranks", "3", "-b", "4K", "-e", "4K", "-n", "5",
                                    "--fault", "flip:3", "--transport", GetParam()});
  EXPECT_EQ(outcome.code, 1) << outcome.err;
  EXPECT_NE(outcome.out.find("FAILED"), std::string::npos) << outcome.out;
  const std::vector<Words> rows = rows_of(outcome.out);
  ASSERT_EQ(rows.size(), 1u) << outcome.out;
  EXPECT_TRUE(rows[0][8] != "0" || rows[0][12] != "0") << outcome.out;
}

INSTANTIATE_TEST_SUITE_P(All, Transports, testing::Values("shm", "tcp", "ucx"));

class Collectives : public testing::TestWithParam<std::string> {};

TEST_P(Collectives, AreExactForEveryTypeOperationAndRoot) {
  const bool reduces =
      GetParam() == "reduce" || GetParam() == "allreduce" || GetParam() == "reduce_scatter";
  const bool rooted = GetParam() == "reduce" || GetParam() == "broadcast" ||
                      GetParam() == "gather" || GetParam() == "scatter";
  const std::size_t rows = 12 * (reduces ? 6 : 1) * (rooted ? 3 : 1);
  expect_good(run_perf({GetParam(), "--ranks", "3", "-b", "1000", "-e", "1000", "-n", "1", "-d",
                        "all", "-o", "all", "-r", "-1"}),
              GetParam() == "barrier" ? 1 : rows);
}

INSTANTIATE_TEST_SUITE_P(All, Collectives,
                         testing::Values("allreduce", "reduce_scatter", "allgather", "broadcast",
                                         "reduce", "alltoall", "gather", "scatter", "sendrecv",
                                         "barrier"),
                         [](const auto& info) { return info.param; });

TEST(Runs, MemoryOfTheLibraryAndUnalignedMemoryAreExactToo) {
  expect_good(run_perf({"allreduce", "--ranks", "2", "-b", "64K", "-e", "64K", "-n", "3",
                        "--buffers", "accl"}),
              1);
  expect_good(run_perf({"allreduce", "--ranks", "2", "-b", "60000", "-e", "60000", "-n", "3", "-u",
                        "3", "-d", "half"}),
              1);
}

TEST(Runs, FollowAMap) {
  const Scratch scratch;
  const std::string map = scratch.write(
      "map.json", R"({"version":1,"ranks":[{"rank":3},{"rank":1},{"rank":0},{"rank":2}]})");
  expect_good(run_perf({"allreduce", "--ranks", "4", "-b", "4K", "-e", "4K", "-n", "3", "--algo",
                        "hdrm", "--map", map}),
              1);
  const Outcome small = run_perf({"allreduce", "--ranks", "2", "--algo", "hdrm", "--map", map});
  EXPECT_EQ(small.code, 2);
  EXPECT_NE(small.err.find("4 ranks"), std::string::npos) << small.err;
}

TEST(Runs, PerIterationTimesAreReported) {
  const Scratch scratch;
  const std::string path = scratch.path("out.json");
  const Outcome outcome = run_perf({"allreduce", "--ranks", "2", "-b", "4K", "-e", "4K", "-n", "6",
                                    "-I", "1", "-K", "2", "-J", path});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(rows_of(outcome.out).at(0).size(), 21u) << outcome.out;
  const auto json = nlohmann::json::parse(read_whole(path));
  const auto& iterations = json["results"][0]["out_of_place_per_iter"];
  EXPECT_EQ(iterations["times_us"].size(), 6u);
  EXPECT_EQ(iterations["per_process_max_times_us"].size(), 2u);
  EXPECT_EQ(iterations["skipped_iterations"], 2);
}

TEST(Runs, JsonSaysWhatTheTableSays) {
  const Scratch scratch;
  const std::string path = scratch.path("out.json");
  const Outcome outcome = run_perf({"allreduce", "--ranks", "2", "-b", "8", "-e", "512", "-f", "8",
                                    "-n", "5", "--algo", "ring", "--transport", "tcp", "-J", path});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto json = nlohmann::json::parse(read_whole(path));
  ASSERT_EQ(json["results"].size(), 3u);
  EXPECT_EQ(json["results"][2]["accl"]["algorithm"], "ring");
  EXPECT_EQ(json["accl"]["transport"], "tcp");
  EXPECT_EQ(json["accl"]["ranks"], 2);
  EXPECT_EQ(json["config"]["devices"].size(), 2u);
  EXPECT_GT(json["config"]["devices"][1]["pid"], 0);
  EXPECT_GT(json["results"][1]["accl"]["time_us_median"], 0);
  EXPECT_EQ(scratch.names(), Words{"out.json"});
}

TEST(Runs, AWorkloadIsReportedTensorByTensorAndFused) {
  const Scratch scratch;
  const std::string path = scratch.write("small.csv", "name,elements\na,1000\nb,3\nc,70000\n");
  const Outcome outcome =
      run_perf({"allreduce", "--ranks", "3", "-n", "3", "--workload", path, "--fusion", "64K"});
  expect_good(outcome, 2);
  EXPECT_NE(outcome.out.find("small tensor by tensor: 3 allreduces"), std::string::npos);
  EXPECT_NE(outcome.out.find("small fused to 64K: 2 allreduces"), std::string::npos);
  EXPECT_EQ(rows_of(outcome.out)[0][0], "284012");
}

// Pids of processes whose parent is `parent`.
std::vector<pid_t> children_of(pid_t parent) {
  const std::string list = read_whole("/proc/" + std::to_string(parent) + "/task/" +
                                      std::to_string(parent) + "/children");
  std::vector<pid_t> pids;
  for (const std::string& word : split(list, ' ')) {
    if (!word.empty() && word != "\n") pids.push_back(std::stoi(word));
  }
  return pids;
}

// Waits for something that takes a moment to become true.
template <class Condition>
bool eventually(const Condition& condition) {
  const Deadline deadline(Milliseconds(20'000));
  while (!condition() && !deadline.passed()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return condition();
}

// A process that nobody has asked after is gone too: in a container, nobody may.
bool is_gone(pid_t pid) {
  if (::kill(pid, 0) != 0) return true;
  const std::string status = read_whole("/proc/" + std::to_string(pid) + "/stat");
  return status.find(") Z ") != std::string::npos;
}

class Launcher : public testing::TestWithParam<std::string> {};

TEST_P(Launcher, NamesARankThatWasKilledAndEndsTheOthers) {
  Invocation invocation(perf_words({"allreduce", "--ranks", "3", "-b", "64K", "-e", "64K", "-N",
                                    "0", "--transport", GetParam()}));
  ASSERT_TRUE(eventually([&] { return !rows_of(invocation.out_so_far()).empty(); }));
  const std::vector<pid_t> ranks = children_of(invocation.pid());
  ASSERT_EQ(ranks.size(), 3u);
  ::kill(ranks[2], SIGKILL);
  const Outcome outcome = invocation.wait();
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(
      outcome.err.find("rank 2 (pid " + std::to_string(ranks[2]) + ") was killed by signal 9"),
      std::string::npos)
      << outcome.err;
  for (const pid_t rank : ranks) EXPECT_TRUE(is_gone(rank));
}

INSTANTIATE_TEST_SUITE_P(All, Launcher, testing::Values("auto", "tcp", "ucx"));

std::string cores_of(pid_t pid) {
  for (const std::string& line :
       split(read_whole("/proc/" + std::to_string(pid) + "/status"), '\n')) {
    if (line.starts_with("Cpus_allowed_list:")) return line.substr(line.find('\t') + 1);
  }
  return {};
}

TEST(Launch, BindsRanksToCoresUnlessToldNot) {
  for (const std::string bind : {"core", "none"}) {
    Invocation invocation(perf_words(
        {"allreduce", "--ranks", "1", "-b", "64K", "-e", "64K", "-N", "0", "--bind", bind}));
    ASSERT_TRUE(eventually([&] { return !rows_of(invocation.out_so_far()).empty(); }));
    const std::vector<pid_t> ranks = children_of(invocation.pid());
    ASSERT_EQ(ranks.size(), 1u);
    const std::string cores = cores_of(ranks[0]);
    const bool is_one = cores.find_first_of(",-") == std::string::npos;
    EXPECT_TRUE(bind == "core" ? is_one : cores == cores_of(::getpid())) << bind << " " << cores;
    ::kill(invocation.pid(), SIGKILL);
  }
}

TEST(Launch, NoRankOutlivesIt) {
  Invocation invocation(
      perf_words({"allreduce", "--ranks", "3", "-b", "64K", "-e", "64K", "-N", "0"}));
  ASSERT_TRUE(eventually([&] { return children_of(invocation.pid()).size() == 3; }));
  const std::vector<pid_t> ranks = children_of(invocation.pid());
  ::kill(invocation.pid(), SIGKILL);
  EXPECT_EQ(invocation.wait().code, 128 + SIGKILL);
  EXPECT_TRUE(eventually([&] { return std::ranges::all_of(ranks, is_gone); }));
}

TEST(Launch, EndsARunThatTakesTooLong) {
  const Outcome outcome =
      run_perf({"allreduce", "--ranks", "2", "-b", "8", "-e", "8", "-N", "0", "-T", "1"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.err.find("-T"), std::string::npos) << outcome.err;
}

TEST(Seats, RanksFindEachOtherByFlags) {
  const Words common{"allreduce",      "-b", "4K", "-e", "4K", "-n", "2", "--world", "2", "--root",
                     "127.0.0.1:29571"};
  Words first = common;
  Words second = common;
  first.insert(first.end(), {"--rank", "0"});
  second.insert(second.end(), {"--rank", "1"});
  Invocation other(perf_words(second));
  expect_good(run_perf(first), 1);
  EXPECT_EQ(other.wait().code, 0);
}

// Runs under this mpirun, or skips aloud where it is not installed.
void expect_good_under(const std::vector<std::string>& names, Words flags) {
  const std::string mpirun = find_program(names);
  if (mpirun.empty()) GTEST_SKIP() << names.front() << " is not installed";
  Words words{mpirun, "-np", "4"};
  words.insert(words.end(), flags.begin(), flags.end());
  const Words perf = perf_words({"allreduce", "-b", "4", "-e", "64K", "-f", "16", "-n", "3"});
  words.insert(words.end(), perf.begin(), perf.end());
  Invocation invocation(words);
  expect_good(invocation.wait(), 4);
}

TEST(Seats, OpenMpiStartsRanks) {
  expect_good_under({"mpirun.openmpi", "orterun"}, {"--allow-run-as-root", "--oversubscribe"});
}

TEST(Seats, MpichStartsRanks) { expect_good_under({"mpirun.mpich", "mpiexec.hydra"}, {}); }

TEST(Peers, StandBesideOursWithARatio) {
  const Scratch scratch;
  const std::string path = scratch.path("out.json");
  const Outcome outcome = run_perf({"allreduce", "--ranks", "2", "-b", "4K", "-e", "4K", "-n", "20",
                                    "--peers", "--no-limits", "-J", path});
  ASSERT_EQ(outcome.code, 0) << outcome.err << outcome.out;
  const auto json = nlohmann::json::parse(read_whole(path));
  const std::size_t peers = json["accl"]["peers"].size();
  if (peers == 0) GTEST_SKIP() << "no peer library is installed";
  const auto& times = json["results"][0]["accl"]["peers"];
  EXPECT_EQ(times.size(), peers);
  for (const auto& [name, time] : times.items()) EXPECT_GT(time, 0) << name;
  EXPECT_EQ(rows_of(outcome.out).at(0).size(), 13 + 2 * peers) << outcome.out;
}

}  // namespace
}  // namespace accl::perf
