// What accl-perf makes of its command line, and what it says to one that cannot be.
#include "bench/perf/options.h"

#include <gtest/gtest.h>

#include "accl/base/error.h"
#include "algorithms/selection.h"
#include "tests/perf/invocation.h"

namespace accl::perf {
namespace {

Options parse(std::vector<std::string> words) {
  words.insert(words.begin(), "accl-perf");
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  return parse_options(static_cast<int>(pointers.size()), pointers.data()).value();
}

TEST(Options, DefaultsAreThoseOfTheContract) {
  const Options options = parse({"allreduce"});
  EXPECT_EQ(options.collective, Collective::allreduce);
  EXPECT_EQ(options.min_bytes, 8u);
  EXPECT_EQ(options.max_bytes, 128u << 20);
  EXPECT_EQ(options.step_factor, 2u);
  EXPECT_EQ(options.iterations, 20u);
  EXPECT_FALSE(options.iterations_given);
  EXPECT_EQ(options.warmup, 1u);
  EXPECT_EQ(options.check, 1u);
  EXPECT_EQ(options.types, std::vector{DataType::float32});
  EXPECT_EQ(options.ops, std::vector{ReduceOp::sum});
  EXPECT_EQ(options.root, 0);
  EXPECT_EQ(options.average, 1u);
  EXPECT_FALSE(options.ranks.has_value());
}

TEST(Options, ReadsTheFlagsOfNcclTests) {
  const Options options =
      parse({"reduce", "-b", "4K", "-e",   "1M", "-i",     "64K", "-n", "7",  "-w", "3",
             "-m",     "2",  "-d", "half", "-o", "mulsum", "-r",  "-1", "-c", "0",  "-a",
             "3",      "-N", "2",  "-u",   "1",  "-T",     "9",   "-S", "1"});
  EXPECT_EQ(options.min_bytes, 4096u);
  EXPECT_EQ(options.max_bytes, 1u << 20);
  EXPECT_EQ(options.step_factor, 1u);
  EXPECT_EQ(options.step_bytes, 65536u);
  EXPECT_TRUE(options.iterations_given);
  EXPECT_EQ(options.iterations, 7u);
  EXPECT_EQ(options.warmup, 3u);
  EXPECT_EQ(options.aggregated, 2u);
  EXPECT_EQ(options.types, std::vector{DataType::float16});
  EXPECT_EQ(options.ops, std::vector{ReduceOp::premul_sum});
  EXPECT_EQ(options.root, -1);
  EXPECT_EQ(options.check, 0u);
  EXPECT_EQ(options.average, 3u);
  EXPECT_EQ(options.cycles, 2u);
  EXPECT_EQ(options.unalign, 1u);
  EXPECT_EQ(options.timeout_s, 9u);
  EXPECT_TRUE(options.timestamps);
}

TEST(Options, LongNamesAreThoseOfNcclTests) {
  const Options options =
      parse({"allreduce", "--minbytes", "16", "--maxbytes", "32", "--stepfactor", "4", "--iters",
             "5", "--warmup_iters", "6", "--datatype", "all", "--op", "all", "--check", "2"});
  EXPECT_EQ(options.min_bytes, 16u);
  EXPECT_EQ(options.step_factor, 4u);
  EXPECT_EQ(options.types.size(), data_type_count);
  EXPECT_EQ(options.ops.size(), reduce_op_count);
  EXPECT_EQ(options.check, 2u);
}

TEST(Options, TakesFixedFlagsAtTheirOneValue) {
  EXPECT_NO_THROW(parse({"allreduce", "-t", "1", "-g", "1", "-G", "0", "-R", "0", "-C", "0"}));
}

TEST(Options, RootIsARankOrAnAddressOrBoth) {
  const Options options = parse({"reduce", "--root", "2", "--rank", "1", "--world", "3", "--root",
                                 "localhost:4000", "-b", "8"});
  EXPECT_EQ(options.root, 2);
  EXPECT_EQ(options.root_address, "localhost:4000");
}

TEST(Options, AlgorithmsAreThoseOfTheCollective) {
  EXPECT_EQ(parse({"allreduce", "--algo", "ring"}).algorithm, "ring");
  EXPECT_EQ(parse({"allreduce", "--algo", "hd", "--first", "far"}).first, First::far);
  EXPECT_THROW(parse({"allreduce", "--algo", "sideways"}), Error);
}

TEST(Options, RootsAreCheckedAgainstTheWorld) {
  EXPECT_THROW(check_options(parse({"reduce", "-r", "4"}), 4), Error);
  EXPECT_NO_THROW(check_options(parse({"reduce", "-r", "3"}), 4));
}

// A command line that is wrong, and a word that the answer must hold.
struct Wrong {
  std::vector<std::string> arguments;
  std::string names;
};

class WrongOptions : public testing::TestWithParam<Wrong> {};

// Exit 2, one sentence on stderr, nothing on stdout, no JSON file.
TEST_P(WrongOptions, AreRefusedInOneSentence) {
  const Scratch scratch;
  std::vector<std::string> arguments = GetParam().arguments;
  arguments.insert(arguments.end(), {"-J", scratch.path("out.json")});
  const Outcome outcome = run_perf(arguments, {"ACCL_RANK_MAP="});
  EXPECT_EQ(outcome.code, 2) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(split(outcome.err, '\n').size(), 1u) << outcome.err;
  EXPECT_TRUE(outcome.err.starts_with("accl-perf: ")) << outcome.err;
  EXPECT_NE(outcome.err.find(GetParam().names), std::string::npos) << outcome.err;
  EXPECT_TRUE(scratch.names().empty());
}

const Wrong wrong_options[] = {
    {{}, "collective"},
    {{"allreduse"}, "allreduse"},
    {{"alltoallv"}, "alltoallv"},
    {{"allreduce", "gather"}, "gather"},
    {{"allreduce", "--bogus"}, "--bogus"},
    {{"allreduce", "-b"}, "-b"},
    {{"allreduce", "-b", "twelve"}, "-b"},
    {{"allreduce", "-b", "-8"}, "-b"},
    {{"allreduce", "-e", "12Q"}, "12Q"},
    {{"allreduce", "-b", "2M", "-e", "1M"}, "-e"},
    {{"allreduce", "-b", "0"}, "-b 0"},
    {{"allreduce", "-f", "0"}, "-f"},
    {{"allreduce", "-i", "1", "-e", "128M"}, "rows"},
    {{"allreduce", "-n", "0"}, "-n"},
    {{"allreduce", "-n", "2x"}, "2x"},
    {{"allreduce", "-w", "-1"}, "-w"},
    {{"allreduce", "-d", "quad"}, "quad"},
    {{"allreduce", "-o", "xor"}, "xor"},
    {{"reduce", "-r", "-2"}, "-r"},
    {{"reduce", "-r", "4", "--ranks", "4"}, "-r 4"},
    {{"allreduce", "-a", "4"}, "-a"},
    {{"allreduce", "-z", "4"}, "-z"},
    {{"allreduce", "-K", "3"}, "-K"},
    {{"allreduce", "-I", "1", "-n", "3", "-K", "3"}, "-K"},
    {{"allreduce", "-g", "2"}, "--ranks"},
    {{"allreduce", "-t", "2"}, "--ranks"},
    {{"allreduce", "-G", "1"}, "-G"},
    {{"allreduce", "-R", "2"}, "--buffers accl"},
    {{"allreduce", "--ranks", "0"}, "--ranks"},
    {{"allreduce", "--ranks", "many"}, "many"},
    {{"allreduce", "--ranks", "2", "--rank", "0"}, "--rank"},
    {{"allreduce", "--rank", "0"}, "--world"},
    {{"allreduce", "--rank", "2", "--world", "2", "--root", "localhost:4000"}, "--rank 2"},
    {{"allreduce", "--rank", "0", "--world", "1", "--root", "nowhere"}, "nowhere"},
    {{"allreduce", "--algo", "sideways"}, "sideways"},
    {{"barrier", "--algo", "ring"}, "ring"},
    {{"allreduce", "--algo", "hdrm"}, "accl-topo map SPEC.yaml --format json > map.json"},
    {{"allreduce", "--map", "/nonexistent/map.json"}, "accl-topo map"},
    {{"allreduce", "--first", "middle"}, "middle"},
    {{"allreduce", "--transport", "pigeon"}, "pigeon"},
    {{"allreduce", "--device", "cuda"}, "--device host"},
    {{"allreduce", "--device", "tpu"}, "tpu"},
    {{"allreduce", "--buffers", "mine"}, "mine"},
    {{"allreduce", "--bind", "loosely"}, "loosely"},
    {{"allreduce", "--align", "100"}, "power of two"},
    {{"allreduce", "--fault", "flip"}, "KIND:K"},
    {{"allreduce", "--fault", "flip:0"}, "0"},
    {{"allreduce", "--workload", "/nonexistent.csv"}, "/nonexistent.csv"},
    {{"reduce", "--workload", "x.csv"}, "allreduce"},
    {{"allreduce", "--fusion", "0"}, "--fusion"},
    {{"allreduce", "--peers", "--explain"}, "--explain"},
    {{"allreduce", "--peers", "-I", "1"}, "--peers"},
    {{"allreduce", "-b", "1024G", "-e", "1024G"}, "-e"},
    {{"allreduce", "--explain", "--ranks", "5000"}, "--ranks"},
};

INSTANTIATE_TEST_SUITE_P(All, WrongOptions, testing::ValuesIn(wrong_options));

TEST(WrongFiles, AFolderThatCannotBeWrittenIsRefused) {
  const Outcome outcome = run_perf({"allreduce", "-J", "/nonexistent/out.json"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_EQ(outcome.out, "");
  EXPECT_NE(outcome.err.find("/nonexistent"), std::string::npos) << outcome.err;
}

TEST(Help, HasExamplesAndExitsWithZero) {
  const Outcome outcome = run_perf({"--help"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_NE(outcome.out.find("accl-perf allreduce --ranks 4"), std::string::npos);
  EXPECT_NE(outcome.out.find("--minbytes"), std::string::npos);
  EXPECT_EQ(outcome.err, "");
}

TEST(Version, IsOneLine) {
  const Outcome outcome = run_perf({"--version"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_TRUE(outcome.out.starts_with("accl-perf 0.")) << outcome.out;
}

TEST(Explain, ShowsThePlanAndRunsNothing) {
  const Outcome outcome = run_perf(
      {"allreduce", "--ranks", "4", "--algo", "ring", "-b", "1K", "-e", "1K", "--explain"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("position 3"), std::string::npos) << outcome.out;
  // Reduce-scatter and allgather send three quarters each.
  EXPECT_NE(outcome.out.find("ring                   1536"), std::string::npos) << outcome.out;
}

TEST(Explain, GoesByTheTableThatWouldBeUsed) {
  const Scratch scratch;
  std::string table = "allreduce 4-4 max any bruck 0 1\n";
  table += SelectionTable::built_in().text();
  const std::string setting = "ACCL_SELECTION=" + scratch.write("my.table", table);
  const std::vector<std::string> words{"allreduce", "--ranks", "4",  "-b",
                                       "1K",        "-e",      "1K", "--explain"};
  const Outcome outcome = run_perf(words, {setting});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("        1024  bruck"), std::string::npos) << outcome.out;
  EXPECT_EQ(run_perf(words, {"ACCL_SELECTION=/nowhere"}).code, 2);
}

}  // namespace
}  // namespace accl::perf
