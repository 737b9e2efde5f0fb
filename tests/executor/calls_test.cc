// calls_test.cc - arguments that cannot be are refused in words, before anything moves; tables of
// selection say what is wrong with them and where.
#include "accl/calls.h"

#include <gtest/gtest.h>

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
