// contention_test.cc - rounds of plans, routes, loads and times against what can be told by hand.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "accl/base/error.h"
#include "algorithms/verify.h"
#include "tests/topology/clusters.h"
#include "topology/contention/time.h"

namespace accl::topology::test {
namespace {

Traffic traffic(const std::string& name, std::uint32_t size, First first = First::near) {
  Shape shape;
  shape.size = size;
  shape.first = first;
  return traffic_of(*find_algorithm(Collective::allreduce, name), shape);
}

TEST(Traffic, RoundsOfKnownPlans) {
  EXPECT_EQ(traffic("ring", 16).round_count(), 30u);
  EXPECT_EQ(traffic("ring", 16).rounds.size(), 1u);  // All the same.
  EXPECT_EQ(traffic("hd", 64).round_count(), 12u);
  EXPECT_EQ(traffic("hd", 48).round_count(), 2 * (5u + 3u));  // A ring of 6 and 3 exchanges.
  EXPECT_EQ(traffic("rd", 32).round_count(), 5u);
  EXPECT_EQ(traffic("oneshot", 9).rounds.front().messages.size() % 9, 0u);
  EXPECT_TRUE(traffic("hd", 1).rounds.empty());
}

TEST(Traffic, NothingOfAnyPlanIsLostOrInvented) {
  for (const Algorithm& algorithm : algorithms()) {
    for (const std::uint32_t size : {2u, 7u, 8u, 12u}) {
      Shape shape;
      shape.size = size;
      if (!algorithm.fits(shape)) continue;
      std::uint64_t sent = 0;
      for (const auto& steps : make_plan_set(algorithm, shape).positions) {
        for (const Step& step : steps)
          sent += step.kind == Step::Kind::send ? step.source.count : 0;
      }
      std::uint64_t counted = 0;
      for (const Round& round : traffic_of(algorithm, shape).rounds) {
        for (const Message& message : round.messages) counted += message.chunks * round.repeats;
      }
      EXPECT_EQ(counted, sent) << algorithm.name << " " << size;
    }
  }
}

// Far first sends half of the vector in the first round, near first too: the partners differ.
TEST(Traffic, TheFirstRoundIsTheFirstExchange) {
  const Message near = traffic("hd", 8, First::near).rounds.front().messages.front();
  const Message far = traffic("hd", 8, First::far).rounds.front().messages.front();
  EXPECT_EQ(index(near.to), 1u);
  EXPECT_EQ(index(far.to), 4u);
  EXPECT_EQ(near.chunks, 4u);
  EXPECT_EQ(far.chunks, 4u);
}

TEST(Traffic, WhatIsTooLargeToCountIsRefused) {
  Shape shape;
  shape.size = 16384;
  EXPECT_THROW(traffic_of(*find_algorithm(Collective::allreduce, "ring"), shape), Error);
}

// One message each way between two NICs.
RoutedRound one_round(const Fabric& fabric, const std::vector<std::pair<int, int>>& pairs,
                      std::uint32_t qps = 1) {
  const Condition condition = whole(fabric);
  const Routes routes(fabric, condition);
  Seats seats{.nics = condition.nics, .lanes = {}, .own_lanes = {}};
  Round round;
  for (const auto& [from, to] : pairs) {
    round.messages.push_back({Position(from), Position(to), 1});
  }
  return route_round(fabric, routes, seats, round, {.qps = qps});
}

TEST(Routes, CrossingIsOneCableSameLayerTwo) {
  const Fabric fabric = make({2, 2, 2, 2, 1});              // NICs 0..3 above, 4..7 below.
  EXPECT_EQ(one_round(fabric, {{0, 1}}).links.size(), 2u);  // One switch.
  EXPECT_EQ(one_round(fabric, {{0, 4}}).links.size(), 3u);
  EXPECT_EQ(one_round(fabric, {{0, 2}}).links.size(), 4u);
}

TEST(Routes, EveryLinkLeadsToTheNext) {
  const Fabric fabric = make({4, 4, 4, 4, 2});
  for (int from = 0; from < 32; ++from) {
    const int to = (from * 7 + 5) % 32;
    if (from == to) continue;
    const RoutedRound round = one_round(fabric, {{from, to}});
    NodeId at = fabric.nics[static_cast<std::size_t>(from)].node;
    for (const LinkId link : round.links) {
      EXPECT_EQ(fabric.graph.link(link).from, at);
      at = fabric.graph.link(link).to;
    }
    EXPECT_EQ(at, fabric.nics[static_cast<std::size_t>(to)].node);
  }
}

TEST(Routes, DeadCablesAreGoneRoundAndCutOffIsSaid) {
  const Fabric fabric = make({2, 2, 1, 1, 1});
  Condition condition = whole(fabric);
  apply_dead(fabric, "upper0--lower0", "dead", condition);
  const Routes routes(fabric, condition);
  std::vector<LinkId> links;
  EXPECT_TRUE(routes.append_path({.from = NicId{0}, .to = NicId{2}, .lane = 0}, links));
  EXPECT_EQ(links.size(), 5u);  // Over the other pair.
  apply_dead(fabric, "upper0--lower1", "dead", condition);
  const Routes cut(fabric, condition);
  links.clear();
  EXPECT_FALSE(cut.append_path({.from = NicId{0}, .to = NicId{2}, .lane = 0}, links));
  EXPECT_TRUE(links.empty());
}

TEST(Routes, TheHashSpreadsAndFollowsItsSeed) {
  const Fabric fabric = make({2, 8, 8, 2, 1});
  std::map<LinkId, int> used;
  for (std::uint32_t qp = 0; qp < 400; ++qp) {
    std::vector<LinkId> links;
    const Condition condition = whole(fabric);
    static const Routes routes(fabric, condition);
    ASSERT_TRUE(
        routes.append_path({.from = NicId{0}, .to = NicId{9}, .lane = {}, .label = qp}, links));
    ++used[links[1]];
  }
  EXPECT_EQ(used.size(), 8u);
  for (const auto& [link, count] : used) EXPECT_NEAR(count, 50, 35);
}

TEST(Load, CountsMessagesNotQps) {
  const Fabric fabric = make({1, 1, 2, 2, 1});
  const Condition condition = whole(fabric);
  EXPECT_EQ(load_of(fabric, condition, one_round(fabric, {{0, 2}})).between_switches, 1);
  const RoundLoad two = load_of(fabric, condition, one_round(fabric, {{0, 2}, {1, 3}}));
  EXPECT_EQ(two.between_switches, 2);
  EXPECT_EQ(two.shared, 1u);
  EXPECT_EQ(two.at_nics, 1);
  EXPECT_NEAR(load_of(fabric, condition, one_round(fabric, {{0, 2}, {1, 3}}, 4)).between_switches,
              2, 1e-9);
  EXPECT_EQ(load_of(fabric, condition, one_round(fabric, {{0, 2}, {2, 0}})).between_switches, 1);
}

constexpr double rate = 100e9 / 8;

double seconds(const Fabric& fabric, const std::vector<std::pair<int, int>>& pairs, double bytes) {
  return time_of(fabric, one_round(fabric, pairs), bytes).seconds;
}

TEST(Time, OneMessageAloneAndTwoOnACable) {
  const Fabric fabric = make({1, 1, 4, 4, 1});
  const double fixed = fabric.start_seconds + 3 * fabric.hop_seconds;
  EXPECT_NEAR(seconds(fabric, {{0, 4}}, 1e9), 1e9 / rate + fixed, 1e-9);
  EXPECT_NEAR(seconds(fabric, {{0, 4}, {1, 5}}, 1e9), 2e9 / rate + fixed, 1e-9);
  EXPECT_NEAR(seconds(fabric, {{0, 4}, {4, 0}}, 1e9), 1e9 / rate + fixed, 1e-9);
  const RoundTime time = time_of(fabric, one_round(fabric, {{0, 4}, {1, 5}, {2, 6}}), 1e9);
  EXPECT_NEAR(time.alone_seconds, 1e9 / rate + fixed, 1e-9);
}

// Three flows on a cable, one of which also shares its NIC with a fourth: the textbook case.
TEST(Time, WhatOneFlowCannotUseTheOthersGet) {
  const Fabric fabric = make({1, 1, 4, 4, 1});
  // 0->4, 0->1 share NIC 0 and get a half each; 1->5 shares the cable with 0->4: a half each.
  const std::vector<double> two =
      arrivals_of(fabric, one_round(fabric, {{0, 4}, {0, 1}, {1, 5}}), rate);
  EXPECT_NEAR(two[0], 2, 1e-6);
  EXPECT_NEAR(two[1], 2, 1e-6);
  EXPECT_NEAR(two[2], 2, 1e-6);
  // 0->4 1->5 2->6 on the cable (a third each); 0->1 has the other two thirds of NIC 0, is done
  // after 1.5; nothing gets faster for it.
  const std::vector<double> three =
      arrivals_of(fabric, one_round(fabric, {{0, 4}, {1, 5}, {2, 6}, {0, 1}}), rate);
  EXPECT_NEAR(three[3], 1.5, 1e-6);
  EXPECT_NEAR(three[0], 3, 1e-6);
  // Both go to NIC 4: it is the bottleneck; when one is done the other is too.
  const std::vector<double> sink = arrivals_of(fabric, one_round(fabric, {{0, 4}, {5, 4}}), rate);
  EXPECT_NEAR(sink[0], 2, 1e-6);
  EXPECT_NEAR(sink[1], 2, 1e-6);
}

}  // namespace
}  // namespace accl::topology::test
