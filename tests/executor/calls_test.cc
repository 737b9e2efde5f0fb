// calls_test.cc - arguments that cannot be are refused in words, before anything moves; tables of
// selection say what is wrong with them and where.
#include "accl/calls.h"

#include <gtest/gtest.h>

#include <array>

#include "accl/base/error.h"
#include "algorithms/selection.h"

namespace accl::testing {
namespace {

std::string refusal(const Call& call, std::uint32_t size = 4, Rank self = Rank{0}) {
  try {
    validate(call, size, self);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
    return error.what();
  }
  return "";
}

TEST(Validate, NamesWhatIsWrong) {
  char byte = 0;
  const Call good{.send = &byte, .recv = &byte, .count = 1};
  EXPECT_EQ(refusal(good), "");
  Call call = good;
  call.send = nullptr;
  EXPECT_NE(refusal(call).find("send buffer is NULL"), std::string::npos);
  call = good;
  call.recv = nullptr;
  EXPECT_NE(refusal(call).find("receive buffer is NULL"), std::string::npos);
  call = good;
  call.collective = Collective::broadcast;
  call.root = Rank{4};
  EXPECT_NE(refusal(call).find("no root 4"), std::string::npos);
  call.root = Rank{1};
  call.send = nullptr;
  EXPECT_EQ(refusal(call), "");  // Only the root sends.
  call = good;
  call.count = ~std::size_t{0};
  EXPECT_NE(refusal(call).find("more than memory has"), std::string::npos);
  call = good;
  call.collective = Collective::sendrecv;
  call.to = 4;
  EXPECT_NE(refusal(call).find("no rank 4"), std::string::npos);
  call = good;
  call.collective = Collective::alltoallv;
  EXPECT_NE(refusal(call).find("counts and offsets"), std::string::npos);
}

// Of memory that this rank neither reads nor writes nothing is said.
TEST(Uses, IsOfTheBytesThatThisRankReadsOrWrites) {
  std::array<std::byte, 100> in, out;
  const auto meets = [&](const Call& call, std::span<const std::byte> memory, Rank self) {
    return uses(call, 4, self, memory);
  };
  Call call{.send = &in[10], .recv = &out[10], .count = 10, .type = DataType::uint8};
  for (const auto* memory : {&in, &out}) {
    const std::span<const std::byte> all(*memory);
    EXPECT_TRUE(meets(call, all, Rank{0}));
    EXPECT_TRUE(meets(call, all.subspan(19, 1), Rank{0}));
    EXPECT_FALSE(meets(call, all.first(10), Rank{0}));
    EXPECT_FALSE(meets(call, all.subspan(20), Rank{0}));
  }
  const auto last_of = [&](Collective collective, std::span<const std::byte> memory, Rank self) {
    call.collective = collective;
    return meets(call, memory.subspan(49, 1), self);  // Of four blocks.
  };
  EXPECT_TRUE(last_of(Collective::allgather, out, Rank{3}));
  EXPECT_FALSE(last_of(Collective::allgather, in, Rank{3})) << "only its own block";
  EXPECT_TRUE(last_of(Collective::reduce_scatter, in, Rank{3}));
  EXPECT_FALSE(last_of(Collective::reduce_scatter, out, Rank{3}));
  EXPECT_TRUE(last_of(Collective::gather, out, Rank{0}));
  EXPECT_FALSE(last_of(Collective::gather, out, Rank{1})) << "only the root writes";
  EXPECT_TRUE(last_of(Collective::scatter, in, Rank{0}));
  EXPECT_FALSE(last_of(Collective::scatter, in, Rank{1}));
  EXPECT_FALSE(last_of(Collective::barrier, in, Rank{0}));
  const std::vector<std::size_t> counts{0, 1, 0, 1}, offsets{0, 5, 9, 30};
  Call uneven{.collective = Collective::alltoallv, .send = in.data(), .recv = out.data()};
  uneven.type = DataType::float16;
  uneven.send_counts = uneven.recv_counts = counts;
  uneven.send_offsets = uneven.recv_offsets = offsets;
  const std::span<const std::byte> all(in);
  EXPECT_TRUE(meets(uneven, all.subspan(61, 1), Rank{0}));
  EXPECT_FALSE(meets(uneven, all.subspan(62), Rank{0}));
  EXPECT_FALSE(meets(uneven, all.subspan(12, 48), Rank{0})) << "between two blocks";
}

std::string table_error(const std::string& text) {
  try {
    SelectionTable::parse(text, "t");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Table, TheBuiltInOneServesEverything) {
  const SelectionTable& table = SelectionTable::built_in();
  for (const Algorithm& algorithm : algorithms()) {
    for (const std::uint32_t ranks : {1u, 2u, 3u, 100u}) {
      for (std::uint64_t bytes = 1; bytes < (1ull << 40); bytes *= 4) {
        const Choice& choice = table.choose(algorithm.collective, ranks, bytes, "shm");
        EXPECT_NE(find_algorithm(algorithm.collective, choice.algorithm), nullptr);
      }
    }
  }
}

TEST(Table, SaysWhereAndWhatIsWrong) {
  EXPECT_NE(table_error("allreduce 2-4 8K shm\n").find("t:1: a rule is"), std::string::npos);
  EXPECT_NE(table_error("\nfoo 2-4 8K shm ring 0 1\n").find("t:2: no collective 'foo'"),
            std::string::npos);
  EXPECT_NE(table_error("allreduce 2-4 8K shm foo 0 1\n").find("has no algorithm 'foo'; it has"),
            std::string::npos);
  EXPECT_NE(table_error("allreduce 24 8K shm ring 0 1\n").find("from-to"), std::string::npos);
  EXPECT_NE(table_error("allreduce 2-4 5K shm ring 0 1\n").find("power of two"), std::string::npos);
  EXPECT_NE(table_error("allreduce 2-4 8K shm ring 0 9\n").find("in-flight is 1 to 4"),
            std::string::npos);
  EXPECT_NE(table_error("allreduce 2-4 8K shm ring 0 1\n").find("needs a last rule"),
            std::string::npos);
}

TEST(Table, TheFirstRuleThatMatchesWins) {
  std::string text = "allreduce 2-2 8K shm oneshot 0 1\nallreduce 2-2 8K any rd 0 1\n";
  text += SelectionTable::built_in().text();
  const SelectionTable table = SelectionTable::parse(text, "t");
  EXPECT_EQ(table.choose(Collective::allreduce, 2, 8192, "shm").algorithm, "oneshot");
  EXPECT_EQ(table.choose(Collective::allreduce, 2, 8192, "tcp").algorithm, "rd");
  const Choice hd = table.settings_for("ring", Collective::allreduce, 2, 100, "tcp");
  EXPECT_EQ(hd.algorithm, "ring");
}

}  // namespace
}  // namespace accl::testing
