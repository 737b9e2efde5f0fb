// program_test.cc - what lowering makes of lists: which messages are read where they lie, which
// sends are joined, which writes wait for which sends.
#include "accl/program.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace accl::testing {
namespace {

constexpr Position p1{1}, p2{2};

TEST(Lowering, ReducesFromTheMessageAndSendsTheResultAtOnce) {
  StepList list;
  list.send(input(0), p1, scratch(0));
  list.recv(scratch(1), p2);
  list.reduce(output(1), input(1), scratch(1));
  list.send(output(1), p1, scratch(1));
  const Program program = lower(list.steps(), 2);
  ASSERT_EQ(program.operations.size(), 2u);
  const Operation& reduce = program.operations[1];
  EXPECT_TRUE(reduce.is_reduce);
  EXPECT_EQ(reduce.a.kind, Operand::Kind::local);
  EXPECT_EQ(reduce.b.kind, Operand::Kind::message);
  EXPECT_EQ(reduce.sends_end - reduce.sends_begin, 1u);
  EXPECT_TRUE(program.scratch.empty());
}

TEST(Lowering, KeepsScratchThatIsReadTwice) {
  StepList list;
  list.recv(scratch(0), p1);
  list.copy(output(0), scratch(0));
  list.send(scratch(0), p2, output(0));
  const Program program = lower(list.steps(), 1);
  EXPECT_EQ(program.scratch, std::vector<std::uint32_t>{0});
}

// Two messages of one peer are read in the order they came, so the first may not wait in the lane
// until after the second.
TEST(Lowering, NeverReadsALaneOutOfOrder) {
  StepList list;
  list.recv(scratch(0), p1);
  list.recv(scratch(1), p1);
  list.reduce(output(1), input(1), scratch(1));
  list.reduce(output(0), input(0), scratch(0));
  const Program program = lower(list.steps(), 2);
  ASSERT_FALSE(program.scratch.empty());
  EXPECT_EQ(program.scratch.front(), 0u);
  EXPECT_EQ(program.operations.front().a.kind, Operand::Kind::message);
  EXPECT_EQ(program.operations.front().target, scratch(0));
}

TEST(Lowering, AWriteWaitsForTheLatestSendOfWhatItOverwrites) {
  StepList list;
  list.send(input(0), p1, output(0));
  list.send(input(0), p2, output(0));
  list.send(input(1), p1, output(1));
  list.recv(output(0), p1);  // In place this is input(0).
  list.recv(output(1), p2);
  const Program program = lower(list.steps(), 2);
  const Operation& first = program.operations[3];
  ASSERT_EQ(first.drains_end - first.drains_begin, 2u);
  EXPECT_EQ(program.drains[first.drains_begin], 0u);
  EXPECT_EQ(program.drains[first.drains_begin + 1], 1u);
  const Operation& second = program.operations[4];
  ASSERT_EQ(second.drains_end - second.drains_begin, 1u);
  EXPECT_EQ(program.drains[second.drains_begin], 2u);
}

// The last use of a place is what counts, and what reduces has no place to wait for.
TEST(Lowering, KnowsFromWhenAMessageMayComeToItsPlace) {
  StepList list;
  list.recv(output(3), p2);  // Nobody used it.
  list.send(input(0), p1, output(0));
  list.reduce(output(1), input(1), input(2));
  list.send(output(1), p1, output(1));
  list.copy(output(4), input(2));
  list.recv(output(1), p1);  // Behind the reduction and its send.
  list.recv(output(0), p2);  // In place this is input(0).
  list.recv(output(1), p1);  // Again.
  const Program program = lower(list.steps(), 5);
  std::vector<std::uint32_t> free_from;
  for (const Operation& operation : program.operations) free_from.push_back(operation.free_from);
  constexpr std::uint32_t never = Operation::never;
  EXPECT_EQ(free_from, (std::vector<std::uint32_t>{0, never, never, never, 3, 2, 5}));
}

TEST(Lowering, KnowsWhichResultsAreReadAgain) {
  StepList list;
  list.recv(output(0), p1);
  list.recv(output(1), p1);
  list.reduce(output(1), output(1), output(0));
  const Program program = lower(list.steps(), 2);
  EXPECT_TRUE(program.operations[0].is_read_again);
  EXPECT_TRUE(program.operations[1].is_read_again);
  EXPECT_FALSE(program.operations[2].is_read_again);
}

std::uint32_t largest_sent(const Algorithm& algorithm, const Shape& shape) {
  std::uint32_t largest = 1;
  for (std::uint32_t p = 0; p < shape.size; ++p) {
    StepList list;
    algorithm.emit(shape, Position{p}, list);
    for (const Step& step : list.steps()) {
      if (step.kind == Step::Kind::send) largest = std::max(largest, step.source.count);
    }
  }
  return largest;
}

void check_largest(const Algorithm& algorithm, std::uint32_t n, First first) {
  for (const std::uint32_t width : {1u, 2u, 4u, 8u}) {
    const Shape shape{.size = n, .root = Position{n / 2}, .width = width, .first = first};
    if (n % width != 0 || !algorithm.fits(shape)) continue;
    const std::uint32_t sent = largest_sent(algorithm, shape);
    const std::string what =
        fmt::format("{} {} n {} width {}", name_of(algorithm.collective), algorithm.name, n, width);
    EXPECT_GE(algorithm.largest(shape), sent) << what;      // Or a message would not fit its ring.
    EXPECT_LE(algorithm.largest(shape), 2 * sent) << what;  // Or slices would be needlessly small.
  }
}

// Ranks cut slices by what the catalog says.
TEST(LargestMessage, IsWhatTheCatalogSays) {
  for (const Algorithm& algorithm : algorithms()) {
    for (std::uint32_t n = 1; n <= 64; ++n) {
      check_largest(algorithm, n, First::near);
      check_largest(algorithm, n, First::far);
    }
  }
}

}  // namespace
}  // namespace accl::testing
