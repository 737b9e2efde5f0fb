// mapping_test.cc - every map is judged by counting messages over the plan and the fabric; here a
// second count, written without the library's routes, agrees with the first.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "accl/base/error.h"
#include "tests/topology/clusters.h"
#include "topology/mapping/closed_form.h"
#include "topology/mapping/launch.h"
#include "topology/mapping/mapper.h"
#include "topology/mapping/search.h"
#include "topology/mapping/study.h"

namespace accl::topology::test {
namespace {

// The most messages of halving-doubling's steps on one cable: straight from the definition, each
// position's partner differs in one bit, the sender's lane is the cable; same-layer messages count
// as a collision.
std::uint32_t most_by_hand(const Fabric& fabric, const Seats& seats) {
  std::uint32_t most = 0;
  const std::uint32_t lanes = fabric.cables_per_pair;
  for (std::uint32_t bit = 1; bit < seats.size(); bit *= 2) {
    std::map<std::tuple<SwitchId, SwitchId, std::uint32_t>, std::uint32_t> meet;
    for (std::uint32_t p = 0; p < seats.size(); ++p) {
      const Nic& from = fabric.at(seats.nics[p]);
      const Nic& to = fabric.at(seats.nics[p ^ bit]);
      const bool crosses = fabric.at(from.at).side != fabric.at(to.at).side;
      if (!crosses && from.at != to.at) return 1000;
      if (crosses) most = std::max(most, ++meet[{from.at, to.at, seats.lanes[p] % lanes}]);
    }
  }
  return most;
}

void expect_permutation(const Seats& seats, const Condition& condition) {
  const std::set<NicId> seated(seats.nics.begin(), seats.nics.end());
  EXPECT_EQ(seated.size(), seats.nics.size());
  EXPECT_EQ(std::vector<NicId>(seated.begin(), seated.end()), condition.nics);
}

Mapping map_whole(const Fabric& fabric, std::uint64_t moves = 0) {
  MapOptions options;
  options.moves = moves;
  return map_ranks(fabric, whole(fabric), options);
}

// U * Hu = L * Hl = N / 2, powers of two all.
std::vector<BiGraph> even_shapes(std::uint32_t least, std::uint32_t most) {
  const std::vector<std::uint32_t> powers{1, 2, 4, 8, 16, 32};
  std::vector<BiGraph> shapes;
  for (std::uint32_t half = least / 2; half <= most / 2; half *= 2) {
    const auto last = std::ranges::upper_bound(powers, half);
    for (auto upper = powers.begin(); upper != last; ++upper) {
      for (auto lower = powers.begin(); lower != last; ++lower) {
        const BiGraph one{*upper, *lower, half / *upper, half / *lower, 1};
        shapes.insert(shapes.end(), 4, one);
      }
    }
  }
  for (std::size_t i = 0; i < shapes.size(); ++i) shapes[i].cables = 1u << (i % 4);
  return shapes;
}

void expect_theorem(const BiGraph& shape) {
  SCOPED_TRACE(fmt::format("U {} L {} Hu {} Hl {} K {}", shape.upper, shape.lower, shape.upper_nics,
                           shape.lower_nics, shape.cables));
  const Fabric fabric = make(shape);
  const Condition condition = whole(fabric);
  const Routes routes(fabric, condition);
  const bool suffices = shape.upper * shape.lower * shape.cables >= shape.nics() / 2;
  const Problem problem = make_problem(fabric, condition, routes, "hd", First::far);
  EXPECT_EQ(closed_form(problem).has_value(), suffices);
  if (!suffices) return;
  const Mapping mapping = map_whole(fabric);
  EXPECT_EQ(mapping.method, "closed form");
  EXPECT_TRUE(mapping.is_contention_free());
  EXPECT_EQ(most_by_hand(fabric, mapping.seats), 1u);
  expect_permutation(mapping.seats, condition);
}

TEST(Mapping, ContentionFreeExactlyWhenHalfTheHostsHaveCables) {
  for (const BiGraph& shape : even_shapes(2, 64)) expect_theorem(shape);
}

TEST(Mapping, TheSameForSamplesOfLargeClusters) {
  for (const BiGraph& shape :
       {BiGraph{8, 8, 8, 8, 1}, BiGraph{16, 16, 16, 16, 1}, BiGraph{16, 16, 32, 32, 2},
        BiGraph{32, 8, 8, 32, 1}, BiGraph{64, 16, 16, 64, 1}, BiGraph{32, 32, 64, 64, 2},
        BiGraph{16, 16, 32, 32, 1}, BiGraph{8, 64, 64, 8, 1}}) {
    expect_theorem(shape);
  }
}

// Where cables do not suffice, nothing that a search finds is free either, in all steps crossing.
TEST(Mapping, WithoutTheCablesASearchFindsNoMapEither) {
  for (const BiGraph& shape : even_shapes(4, 32)) {
    const bool is_degenerate = shape.upper == 1 && shape.lower == 1;  // Pairs at one switch help.
    const bool suffices = shape.upper * shape.lower * shape.cables >= shape.nics() / 2;
    if (suffices || is_degenerate || shape.upper * shape.lower < 4) continue;
    const Fabric fabric = make(shape);
    const Mapping mapping = map_whole(fabric, 3000);
    EXPECT_NE(mapping.method, "closed form");
    EXPECT_FALSE(mapping.is_contention_free())
        << shape.upper << " " << shape.lower << " " << shape.nics() << " " << shape.cables;
  }
}

TEST(Mapping, SortedAndShuffledOrdersDoCollide) {
  const Fabric fabric = make({8, 8, 8, 8, 1});
  const Condition condition = whole(fabric);
  const StudyOptions options;
  const Study near = study(fabric, condition, "hd", First::near, sorted_seats(condition), options);
  const Study far = study(fabric, condition, "hd", First::far, sorted_seats(condition), options);
  const Study shuffled =
      study(fabric, condition, "hd", First::near, shuffled_seats(fabric, condition, 7), options);
  EXPECT_GT(near.most(), 1);
  EXPECT_GT(far.slowdown(), near.slowdown());
  EXPECT_GT(near.slowdown(), 1.2);
  EXPECT_GT(shuffled.slowdown(), 2);
}

// f * 2^m: the numbers of hosts per switch that a ring of 2f times exchanges serves.
TEST(Mapping, OddMultiplesOfPowersOfTwo) {
  for (const std::uint32_t odd : {3u, 5u, 7u}) {
    for (std::uint32_t switches = odd; switches <= 2 * odd; switches *= 2) {
      for (std::uint32_t fill = 1; fill <= 8; fill *= 2) {
        const std::uint32_t cables = (fill + switches - 1) / switches + 1;
        const Fabric fabric = make({switches, switches, fill, fill, cables});
        const Mapping mapping = map_whole(fabric);
        EXPECT_TRUE(mapping.is_contention_free())
            << switches << " switches, " << fill << " hosts, most " << mapping.most();
        EXPECT_EQ(mapping.method, "ring x exchanges");
        expect_permutation(mapping.seats, whole(fabric));
      }
    }
  }
}

constexpr const char* uneven =
    "name: uneven\ntopology: bigraph\nservers: {count: 28, nics: 2}\n"
    "upper: {switches: 4, nics: [8, 8, 6, 6]}\nlower: {switches: 4, nics: [8, 8, 8, 4]}\n"
    "cables_per_pair: 2\n";

TEST(Mapping, UnevenSwitchesNeedLanesOfTheirOwn) {
  const Fabric fabric = fabric_from(uneven);
  const Mapping mapping = map_whole(fabric);
  EXPECT_EQ(mapping.method, "search");
  EXPECT_TRUE(mapping.is_contention_free()) << mapping.most();
  expect_permutation(mapping.seats, whole(fabric));
  // The control: without the lanes it is not free.
  Seats one_lane = mapping.seats;
  one_lane.lanes.assign(one_lane.size(), 0);
  one_lane.own_lanes.clear();
  const Study control =
      study(fabric, whole(fabric), "hd", mapping.shape.first, one_lane, StudyOptions{});
  EXPECT_GT(control.most(), 1);
}

TEST(Mapping, ASubsetOfTheHostsDeadCablesAndHosts) {
  const Fabric fabric = make({8, 8, 8, 8, 1});
  Condition condition = whole(fabric);
  apply_dead(fabric, "server3\nserver77 # burnt\nupper2--lower5\nupper7--lower0\n", "dead",
             condition);
  std::string hosts;
  for (int i = 0; i < 128; ++i) {
    if (i % 9 != 1) hosts += fmt::format("server{}\n", i);
  }
  apply_hosts(fabric, hosts, "hosts", condition);
  MapOptions options;
  options.moves = 20000;
  const Mapping mapping = map_ranks(fabric, condition, options);
  expect_permutation(mapping.seats, condition);
  EXPECT_EQ(mapping.seats.size(), 128u - 15 - 2);
  EXPECT_LE(mapping.most(), 3);
  EXPECT_LT(study(fabric, condition, "hd", mapping.shape.first, mapping.seats, {}).slowdown(),
            study(fabric, condition, "hd", First::near, sorted_seats(condition), {}).slowdown());
}

// Half load: a dead cable is avoided altogether.
TEST(Mapping, ADeadCableIsAvoidedWhereThereAreCablesToSpare) {
  const Fabric fabric = make({4, 4, 2, 2, 1});
  for (const char* const dead : {"upper0--lower0", "upper1--lower3", "upper3--lower2"}) {
    Condition condition = whole(fabric);
    apply_dead(fabric, dead, "dead", condition);
    const Mapping mapping = map_ranks(fabric, condition, {});
    EXPECT_TRUE(mapping.is_contention_free()) << dead << " " << mapping.most();
  }
}

// Another job on one of two cables of every pair: our lanes are the other ones.
TEST(Mapping, OccupiedCablesAreLeftAlone) {
  const Fabric fabric = make({4, 4, 4, 4, 2});
  Condition condition = whole(fabric);
  std::string taken;
  for (std::uint32_t i = 0; i < fabric.cables.size(); ++i) {
    const Cable& cable = fabric.cables[i];
    if (cable.joins_switches && cable.lane == 0) taken += label_of(CableId{i}) + "\n";
  }
  apply_occupied(fabric, taken, "occupied", condition);
  const Mapping mapping = map_ranks(fabric, condition, {});
  EXPECT_TRUE(mapping.is_contention_free());
  EXPECT_EQ(mapping.occupied(), 0u);
  // All cables between two switches occupied: they are shared, and the map says so.
  apply_occupied(fabric, "upper0--lower0\nupper0--lower1\nupper0--lower2\nupper0--lower3\n", "o",
                 condition);
  const Mapping sharing = map_ranks(fabric, condition, {});
  EXPECT_GT(sharing.occupied(), 0u);
  EXPECT_FALSE(sharing.is_contention_free());
}

TEST(Mapping, PlanesOfTheirOwnGoByWholeServers) {
  const Fabric fabric = fabric_from(
      "name: rails\ntopology: bigraph\nplanes: 4\nservers: {count: 32, nics: 4}\n"
      "upper: {switches: 4, nics: 4}\nlower: {switches: 4, nics: 4}\n");
  const Mapping mapping = map_whole(fabric);
  EXPECT_EQ(mapping.algorithm, "twolevel");
  EXPECT_EQ(mapping.method, "closed form");
  EXPECT_TRUE(mapping.is_contention_free());
  for (std::uint32_t p = 0; p < mapping.seats.size(); ++p) {
    EXPECT_EQ(fabric.at(mapping.seats.nics[p]).place, p % 4);
    EXPECT_EQ(fabric.at(mapping.seats.nics[p]).server,
              fabric.at(mapping.seats.nics[p / 4 * 4]).server);
  }
}

TEST(Mapping, ALeafSpineWithPinnedSpinesIsFreeToo) {
  const Fabric fabric = fabric_from(
      "name: clos\ntopology: leaf-spine\nservers: {count: 64}\n"
      "leaf: {switches: 8, nics: 8}\nspine: {switches: 8}\n");
  EXPECT_TRUE(map_whole(fabric).is_contention_free());
}

TEST(Mapping, TheSameOnEveryRun) {
  const Fabric fabric = fabric_from(uneven);
  const Mapping one = map_whole(fabric);
  const Mapping two = map_whole(fabric);
  EXPECT_EQ(print_rank_map(rank_map_of(fabric, one)), print_rank_map(rank_map_of(fabric, two)));
}

TEST(RankMap, ComesBackAsItWasWritten) {
  const Fabric fabric = fabric_from(uneven);
  const RankMap map = rank_map_of(fabric, map_whole(fabric));
  const std::string text = print_rank_map(map);
  const RankMap again = parse_rank_map(text, "map.json", 56);
  EXPECT_EQ(print_rank_map(again), text);
  EXPECT_EQ(again.seats[5].host, map.seats[5].host);
  const bool has_own_lanes =
      std::ranges::any_of(again.seats, [](const Seat& seat) { return !seat.own_lanes.empty(); });
  EXPECT_TRUE(has_own_lanes);
}

TEST(RankMap, BadOnesAreNamed) {
  const auto complaint = [](const std::string& text) -> std::string {
    try {
      static_cast<void>(parse_rank_map(text, "map.json", 2));
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_NE(complaint("{").find("map.json"), std::string::npos);
  EXPECT_NE(complaint("[1]").find("version 1"), std::string::npos);
  EXPECT_NE(complaint(R"({"version":1,"ranks":[{"rank":0}]})").find("holds 1"), std::string::npos);
  EXPECT_NE(complaint(R"({"version":1,"ranks":[{"rank":0},{"rank":0}]})").find("came before"),
            std::string::npos);
  EXPECT_NE(complaint(R"({"version":1,"ranks":[{"rank":0},{"rank":9}]})").find("rank 9 of 2"),
            std::string::npos);
  EXPECT_NE(complaint(R"({"version":1,"ranks":[{"rank":0},{"rank":1,"lane":-1}]})").find("lane"),
            std::string::npos);
  EXPECT_EQ(complaint(R"({"version":1,"ranks":[{"rank":1},{"rank":0}]})"), "accepted");
}

TEST(Launch, FilesFollowTheMap) {
  const Fabric fabric = make({2, 2, 2, 2, 1});
  const RankMap map = rank_map_of(fabric, map_whole(fabric));
  std::string hosts;
  for (const Seat& seat : map.seats) hosts += seat.host + "\n";
  EXPECT_EQ(print_map(map, "hostfile"), hosts);
  EXPECT_EQ(print_map(map, "slurm"), hosts);
  EXPECT_TRUE(print_map(map, "rankfile")
                  .starts_with(fmt::format("rank 0={} slot=*:*\n", hosts.substr(0, 7))));
  const std::string commands = print_map(map, "torchrun");
  EXPECT_NE(commands.find("--node-rank=7 --rdzv-backend=static"), std::string::npos) << commands;
  EXPECT_THROW(print_map(map, "pbs"), Error);
}

}  // namespace
}  // namespace accl::topology::test
