// What accl-perf --traffic counts is what the plan says, pair by pair: by hand for rings and
// halving-doubling, and from the plan's own steps for more algorithms, sizes and transports.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "algorithms/catalog.h"
#include "algorithms/selection.h"
#include "tests/perf/invocation.h"

namespace accl::perf {
namespace {

using Words = std::vector<std::string>;
using Json = nlohmann::json;

struct Load {
  std::uint64_t messages = 0, bytes = 0;
  bool operator==(const Load&) const = default;
};
using Loads = std::map<std::pair<std::uint32_t, std::uint32_t>, Load>;  // By from and to.

void PrintTo(const Load& load, std::ostream* out) {
  *out << load.messages << " of " << load.bytes << " B";
}

constexpr std::uint64_t element_bytes = sizeof(float);

// Elements of part i where the first (elements % parts) are one longer.
std::uint64_t part(std::uint64_t elements, std::uint32_t parts, std::uint32_t i) {
  return elements / parts + (i < elements % parts ? 1 : 0);
}

// Rank p ends the first phase with chunk p, so it sends all others; in the second it sends all but
// the one that its next rank has already.
Loads ring_by_hand(std::uint32_t ranks, std::uint64_t elements) {
  Loads loads;
  for (std::uint32_t p = 0; p < ranks; ++p) {
    const std::uint32_t next = (p + 1) % ranks;
    const std::uint64_t sent =
        2 * elements - part(elements, ranks, p) - part(elements, ranks, next);
    loads[{p, next}] = {2 * (std::uint64_t{ranks} - 1), sent * element_bytes};
  }
  return loads;
}

// A power of two of ranks, near distances first. At distance d rank p still holds a region of
// ranks / d chunks: in the first phase it gives away one half of it, in the second it hands on the
// other. A set bit keeps the upper half.
Loads halving_doubling_by_hand(std::uint32_t ranks, std::uint64_t elements) {
  Loads loads;
  for (std::uint32_t p = 0; p < ranks; ++p) {
    std::uint32_t begin = 0;
    for (std::uint32_t d = 1, left = ranks; d < ranks; d *= 2, left /= 2) {
      Load& load = loads[{p, p ^ d}];
      load.messages = 2;
      for (std::uint32_t c = begin; c < begin + left; ++c) {
        load.bytes += part(elements, ranks, c) * element_bytes;
      }
      if ((p & d) != 0) begin += left / 2;
    }
  }
  return loads;
}

// The sends of a vector that is one slice.
Loads by_plan(const std::string& name, std::uint32_t ranks, std::uint64_t elements) {
  const Algorithm& algorithm = *find_algorithm(Collective::allreduce, name);
  const Shape shape{.size = ranks, .width = ranks};
  const std::uint32_t chunks = algorithm.chunks(shape);
  Loads loads;
  for (std::uint32_t p = 0; p < shape.size; ++p) {
    StepList list;
    algorithm.emit(shape, Position{p}, list);
    for (const Step& step : list.steps()) {
      if (step.kind != Step::Kind::send) continue;
      std::uint64_t sent = 0;
      for (std::uint32_t i = 0; i < step.source.count; ++i) {
        sent += part(elements, chunks, (step.source.chunk + i) % chunks);
      }
      if (sent == 0) continue;  // Empty messages are not sent.
      Load& load = loads[{p, index(step.peer)}];
      ++load.messages;
      load.bytes += sent * element_bytes;
    }
  }
  return loads;
}

std::uint64_t all_messages(const Loads& loads) {
  std::uint64_t sum = 0;
  for (const auto& [pair, load] : loads) sum += load.messages;
  return sum;
}

// A selection table in which every algorithm has the same slices; 0: as large as can be.
std::string rules(std::uint64_t slice_bytes) {
  std::string text;
  for (const char* name : {"ring", "hd", "tree", "rd"}) {
    text += fmt::format("allreduce 2-max max any {} {} 2\n", name, slice_bytes);
  }
  return text + SelectionTable::built_in().text();
}

struct Counted {
  std::vector<Json> rows;
  std::vector<std::string> lines;  // Of the table, those about traffic.

  Loads loads(std::size_t row) const {
    Loads loads;
    for (const Json& flow : rows.at(row)["accl"]["traffic"]) {
      loads[{flow["from"], flow["to"]}] = {flow["messages"], flow["bytes"]};
    }
    return loads;
  }
};

Counted count(const Words& what, std::uint64_t slice_bytes = 0) {
  const Scratch scratch;
  const std::string path = scratch.path("out.json");
  Words words = what;
  words.insert(words.end(), {"-n", "1", "-w", "0", "--traffic", "-J", path});
  const Outcome outcome =
      run_perf(words, {"ACCL_SELECTION=" + scratch.write("my.table", rules(slice_bytes))});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  if (outcome.code != 0) return {};
  Counted counted;
  const Json whole = Json::parse(read_whole(path));
  for (const Json& row : whole["results"]) counted.rows.push_back(row);
  for (const std::string& line : split(outcome.out, '\n')) {
    if (line.starts_with("#   traffic: ")) counted.lines.push_back(line);
  }
  return counted;
}

Counted count_one(const std::string& algorithm, std::uint32_t ranks, std::uint64_t elements,
                  const std::string& transport = "tcp") {
  const std::string size = std::to_string(elements * element_bytes);
  return count({"allreduce", "--ranks", std::to_string(ranks), "--transport", transport, "--algo",
                algorithm, "-b", size, "-e", size});
}

constexpr std::uint64_t uneven = 1003;

TEST(Traffic, OfARingIsWhatAHandComputes) {
  const Counted counted = count_one("ring", 6, uneven);
  ASSERT_EQ(counted.rows.size(), 1u);
  EXPECT_EQ(counted.loads(0), ring_by_hand(6, uneven));
  // 6 * (2 * 1003) - 2 * 1003 floats.
  EXPECT_EQ(counted.lines,
            Words{"#   traffic: 60 messages, 40120 payload bytes, 10 to 10 messages a rank"});
}

TEST(Traffic, OfHalvingDoublingIsWhatAHandComputes) {
  const Counted counted = count_one("hd", 8, uneven);
  ASSERT_EQ(counted.rows.size(), 1u);
  EXPECT_EQ(counted.loads(0), halving_doubling_by_hand(8, uneven));
  EXPECT_EQ(counted.lines,
            Words{"#   traffic: 48 messages, 56168 payload bytes, 6 to 6 messages a rank"});
}

// The comparison would not be worth much if it took another plan or another size for this one.
TEST(Traffic, OfOtherPlansAndSizesDiffers) {
  const Loads hd = halving_doubling_by_hand(8, uneven);
  EXPECT_NE(count_one("ring", 8, uneven).loads(0), hd);
  EXPECT_NE(count_one("hd", 8, uneven + 1).loads(0), hd);
  Loads one_more = ring_by_hand(6, uneven);
  ++one_more[{5, 0}].messages;
  EXPECT_NE(count_one("ring", 6, uneven).loads(0), one_more);
}

TEST(Traffic, IsInTheOrderOfRanks) {
  const Counted counted = count_one("hd", 4, uneven);
  ASSERT_EQ(counted.rows.size(), 1u);
  std::vector<std::pair<int, int>> pairs;
  for (const Json& flow : counted.rows[0]["accl"]["traffic"]) {
    pairs.emplace_back(flow["from"], flow["to"]);
  }
  EXPECT_EQ(pairs.size(), 8u);
  EXPECT_TRUE(std::ranges::is_sorted(pairs));
}

TEST(Traffic, OfAlltoallIsABlockForEveryPair) {
  const Counted counted = count({"alltoall", "--ranks", "4", "--transport", "tcp", "--algo",
                                 "pairwise", "-b", "4K", "-e", "4K"});
  ASSERT_EQ(counted.rows.size(), 1u);
  Loads expected;
  for (std::uint32_t from = 0; from < 4; ++from) {
    for (std::uint32_t to = 0; to < 4; ++to) {
      if (from != to) expected[{from, to}] = {1, 1024};
    }
  }
  EXPECT_EQ(counted.loads(0), expected);
}

TEST(Traffic, IsRefusedWhereNothingIsMeasuredOrSomethingIsBroken) {
  for (const Words& more : {Words{"--tune"}, Words{"--explain"}, Words{"--fault", "flip:1"}}) {
    Words words{"allreduce", "--ranks", "2", "--traffic"};
    words.insert(words.end(), more.begin(), more.end());
    const Outcome outcome = run_perf(words);
    EXPECT_EQ(outcome.code, 2) << more[0];
    EXPECT_NE(outcome.err.find("--traffic"), std::string::npos) << outcome.err;
  }
}

using Situation = std::tuple<std::string, std::string>;  // Algorithm, transport.

class Plans : public testing::TestWithParam<Situation> {
 protected:
  static Words words(std::uint32_t ranks) {
    const auto& [algorithm, transport] = GetParam();
    return {"allreduce",   "--ranks", std::to_string(ranks), "--algo", algorithm,
            "--transport", transport};
  }

  // Less than an element for each rank, and many; both are one slice.
  static void expect_counted(std::uint32_t ranks, const Words& more) {
    constexpr std::uint64_t sizes[] = {3, 24'503};
    Words words = Plans::words(ranks);
    words.insert(words.end(), {"-b", "12", "-e", "98012", "-i", "98000"});
    words.insert(words.end(), more.begin(), more.end());
    const Counted counted = count(words);
    ASSERT_EQ(counted.rows.size(), std::size(sizes));
    for (std::size_t row = 0; row < std::size(sizes); ++row) {
      EXPECT_EQ(counted.loads(row), by_plan(std::get<0>(GetParam()), ranks, sizes[row]))
          << ranks << " ranks, " << sizes[row] << " elements";
    }
  }
};

TEST_P(Plans, SayWhatIsSent) {
  expect_counted(5, {});
  expect_counted(6, {});
}

// Over shm its bytes are read where they lie, and still count.
TEST_P(Plans, SayWhatIsSentFromTheLibrarysMemory) { expect_counted(4, {"--buffers", "accl"}); }

// Slices are powers of two here, so however many they are, chunks of all but the last are equal.
TEST_P(Plans, HoldForEverySlice) {
  constexpr std::uint32_t ranks = 8;
  constexpr std::uint64_t whole = 1 << 18, rest = 3;
  const std::string size = std::to_string((whole + rest) * element_bytes);
  Words words = Plans::words(ranks);
  words.insert(words.end(), {"-b", size, "-e", size});
  const Counted counted = count(words, 65536);
  ASSERT_EQ(counted.rows.size(), 1u);
  const Loads loads = counted.loads(0);
  const Loads last = by_plan(std::get<0>(GetParam()), ranks, rest);
  Loads expected = by_plan(std::get<0>(GetParam()), ranks, whole);
  const std::uint64_t slices = (all_messages(loads) - all_messages(last)) / all_messages(expected);
  EXPECT_GE(slices, 2u);
  for (auto& [pair, load] : expected) load.messages *= slices;
  for (const auto& [pair, load] : last) {
    expected[pair].messages += load.messages;
    expected[pair].bytes += load.bytes;
  }
  EXPECT_EQ(loads, expected);
}

INSTANTIATE_TEST_SUITE_P(All, Plans,
                         testing::Combine(testing::Values("ring", "hd", "tree", "rd"),
                                          testing::Values("tcp", "shm")),
                         [](const auto& info) {
                           return std::get<0>(info.param) + "_" + std::get<1>(info.param);
                         });

}  // namespace
}  // namespace accl::perf
