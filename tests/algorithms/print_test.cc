#include "algorithms/print.h"

#include <gtest/gtest.h>

#include <bit>

namespace accl::test {
namespace {

PlanSet plan_of(Collective collective, std::string_view name, const Shape& shape) {
  const Algorithm* algorithm = find_algorithm(collective, name);
  EXPECT_NE(algorithm, nullptr);
  return make_plan_set(*algorithm, shape);
}

TEST(PrintTest, Plan) {
  EXPECT_EQ(print_plan(plan_of(Collective::allreduce, "ring", Shape{.size = 2})),
            R"(allreduce over 2 positions, 2 chunks
position 0
    0  send input[1] to 1 as scratch[3]
    1  recv scratch[2] from 1
    2  reduce output[0] = input[0] + scratch[2]
    3  send output[0] to 1 as output[0]
    4  recv output[1] from 1
position 1
    0  send input[0] to 0 as scratch[2]
    1  recv scratch[3] from 0
    2  reduce output[1] = input[1] + scratch[3]
    3  send output[1] to 0 as output[1]
    4  recv output[0] from 0
)");
}

TEST(PrintTest, Summary) {
  EXPECT_EQ(print_summary(plan_of(Collective::broadcast, "tree", Shape{.size = 4})),
            R"(broadcast over 4 positions: 2 rounds, at most 2 messages and 2 D sent by a position
position  steps  messages      sends    reduces
       0      3         2        2 D          0
       1      1         0          0          0
       2      2         1          D          0
       3      1         0          0          0
)");
}

TEST(PrintTest, Traffic) {
  EXPECT_EQ(print_traffic(plan_of(Collective::gather, "tree", Shape{.size = 3})),
            R"(from\to          0          1          2
      0          .          .          .
      1   1x 1/3 D          .          .
      2   1x 1/3 D          .          .
)");
}

struct Expected {
  Collective collective;
  std::string_view name;
  std::uint32_t size;
  std::uint32_t rounds;
  std::string volume;  // Of the busiest position.
};

// What the formulas in the catalog and in the literature say.
TEST(PrintTest, RoundsAndVolumesAreThoseOfTheFormulas) {
  const Expected all[] = {
      {Collective::allreduce, "ring", 8, 14, "7/4 D"},
      {Collective::allreduce, "ring", 7, 12, "12/7 D"},
      {Collective::allreduce, "hd", 8, 6, "7/4 D"},
      {Collective::allreduce, "hd", 64, 12, "63/32 D"},
      // Ring of 2f times m exchanges: 2f - 1 + m rounds a phase, optimal volume.
      {Collective::allreduce, "hd", 6, 10, "5/3 D"},
      {Collective::allreduce, "hd", 12, 12, "11/6 D"},
      {Collective::allreduce, "hd", 24, 14, "23/12 D"},
      {Collective::allreduce, "hd", 56, 30, "55/28 D"},
      {Collective::allreduce, "hd", 7, 6, "5/2 D"},
      {Collective::allreduce, "bruck", 7, 6, "12/7 D"},
      {Collective::allreduce, "bruck", 24, 10, "23/12 D"},
      {Collective::allreduce, "rd", 8, 3, "3 D"},
      {Collective::allreduce, "rd", 7, 4, "3 D"},
      {Collective::allreduce, "oneshot", 5, 1, "4 D"},
      {Collective::reduce_scatter, "hd", 16, 4, "15/16 D"},
      {Collective::reduce_scatter, "pairwise", 8, 1, "7/8 D"},
      {Collective::allgather, "bruck", 9, 4, "8/9 D"},
      {Collective::broadcast, "tree", 9, 3, "4 D"},
      {Collective::broadcast, "chain", 9, 8, "D"},
      {Collective::reduce, "tree", 9, 3, "D"},
      {Collective::alltoall, "bruck", 8, 3, "3/2 D"},
      {Collective::alltoall, "pairwise", 8, 1, "7/8 D"},
      {Collective::alltoall, "pairwise", 18, 3, "17/18 D"},
      {Collective::barrier, "dissemination", 9, 4, "4 D"},
  };
  for (const Expected& expected : all) {
    const PlanSet plan = plan_of(expected.collective, expected.name, Shape{.size = expected.size});
    const Cost cost = cost_of(plan);
    EXPECT_EQ(cost.rounds, expected.rounds) << expected.name << " " << expected.size;
    EXPECT_EQ(fraction_of_vector(busiest(cost.sent).chunks, plan.chunks), expected.volume)
        << expected.name << " " << expected.size;
  }
}

// Of one host's vector only 1/width goes through each position's wire to other hosts.
TEST(PrintTest, TwoLevelSendsItsShareAcrossHosts) {
  const Shape shape{.size = 32, .width = 8};
  const PlanSet plan = plan_of(Collective::allreduce, "twolevel", shape);
  for (std::uint32_t position = 0; position < shape.size; ++position) {
    std::uint32_t away = 0;
    for (const Step& step : plan.positions[position]) {
      if (step.kind != Step::Kind::send) continue;
      if (index(step.peer) / shape.width != position / shape.width) away += step.source.count;
      EXPECT_TRUE(index(step.peer) / shape.width == position / shape.width ||
                  index(step.peer) % shape.width == position % shape.width);
    }
    // 2 (hosts - 1) / hosts of D / width.
    EXPECT_EQ(fraction_of_vector(away, plan.chunks), "3/16 D");
  }
}

// Which distance comes first in the reduce-scatter is what Shape::first says.
void expect_distances(std::uint32_t size, First first, std::uint32_t position) {
  const PlanSet plan = plan_of(Collective::allreduce, "hd", {.size = size, .first = first});
  std::uint32_t distance = first == First::near ? 1 : size / 2;
  std::uint32_t share = size / 2;
  for (const Step& step : plan.positions[position]) {
    if (step.kind != Step::Kind::send || step.target.buffer != Buffer::scratch) continue;
    EXPECT_EQ(index(step.peer), position ^ distance);
    EXPECT_EQ(step.source.count, share);
    distance = first == First::near ? distance * 2 : distance / 2;
    share /= 2;
  }
  EXPECT_EQ(share, 0U);
}

TEST(PrintTest, NearAndFarDistancesFirst) {
  for (const std::uint32_t size : {4U, 8U, 64U}) {
    expect_distances(size, First::near, 5 % size);
    expect_distances(size, First::far, 5 % size);
  }
}

// In the double tree no position sends more than twice its half up and down.
TEST(PrintTest, DoubleTreeLeavesAndInnerNodesChangePlaces) {
  for (const std::uint32_t size : {2U, 5U, 8U, 13U, 64U, 100U}) {
    const PlanSet plan = plan_of(Collective::allreduce, "tree", Shape{.size = size});
    const Cost cost = cost_of(plan);
    EXPECT_LE(busiest(cost.sent).chunks, 5U) << size;  // 2 up, and 2 + 1 down next to a root.
    EXPECT_LE(cost.rounds, 4 * std::bit_width(size)) << size;
  }
}

}  // namespace
}  // namespace accl::test
