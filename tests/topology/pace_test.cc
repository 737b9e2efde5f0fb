// pace_test.cc - plans in which each rank goes on at its own pace, against what can be told by hand
// and against the time round by round.
#include "topology/contention/pace.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "accl/base/error.h"
#include "tests/topology/clusters.h"
#include "topology/mapping/study.h"

namespace accl::topology::test {
namespace {

constexpr double rate = 100e9 / 8;  // A chunk is what a cable carries in a second.

struct Times {
  double together = 0;
  double paced = 0;
};

// Positions at the NICs in order; as many NICs above as below, one cable between the two switches.
Times times_of(const Fabric& fabric, const std::vector<Round>& rounds, const Sending& sending = {},
               const Slicing& slicing = {}) {
  const Condition condition = whole(fabric);
  const Routes routes(fabric, condition);
  Traffic traffic{.positions = static_cast<std::uint32_t>(fabric.nics.size()), .rounds = rounds};
  std::vector<RoutedRound> routed;
  Times times;
  for (const Round& round : rounds) {
    routed.push_back(route_round(fabric, routes, sorted_seats(condition), round, sending));
    times.together += round.repeats * time_of(fabric, routed.back(), rate).seconds;
  }
  times.paced = paced_seconds(fabric, traffic, routed, rate, slicing);
  return times;
}

Message message(std::uint32_t from, std::uint32_t to, std::uint32_t chunks) {
  return {Position{from}, Position{to}, chunks};
}

Fabric two_switches(const char* latency) {
  return fabric_from(std::string("name: test\ntopology: bigraph\nservers: {count: 8}\n"
                                 "upper: {switches: 1, nics: 4}\nlower: {switches: 1, nics: 4}\n") +
                     latency);
}

Fabric without_latency() { return two_switches("latency: {start_us: 0, hop_us: 0}\n"); }

TEST(Pace, NobodyWaitsForTheStepsOfOthers) {
  const Times times =
      times_of(without_latency(), {{.messages = {message(0, 4, 5), message(5, 1, 1)}},
                                   {.messages = {message(0, 4, 1), message(5, 1, 5)}}});
  EXPECT_NEAR(times.together, 10, 1e-9);
  EXPECT_NEAR(times.paced, 6, 1e-9);
}

TEST(Pace, EverybodyWaitsForItsOwnMessagesBothWays) {
  // 1 passes on what it got; 0 sends on when its first message is there.
  const Times chain =
      times_of(without_latency(), {{.messages = {message(0, 1, 3)}},
                                   {.messages = {message(0, 2, 1), message(1, 3, 2)}},
                                   {.messages = {message(3, 4, 4)}}});
  EXPECT_NEAR(chain.paced, 3 + 2 + 4, 1e-9);
  // Who has no part in a round does not wait for it.
  const Times idle = times_of(without_latency(), {{.messages = {message(0, 1, 3)}},
                                                  {.messages = {message(2, 3, 3)}, .repeats = 4}});
  EXPECT_NEAR(idle.together, 15, 1e-9);
  EXPECT_NEAR(idle.paced, 12, 1e-9);
}

// Two seconds of 0->4 alone, then 1->5 comes to the same cable: they share it for four more, and
// 1->5 has one chunk left.
TEST(Pace, MessagesOfDifferentRoundsShareACable) {
  const Times times =
      times_of(without_latency(), {{.messages = {message(0, 4, 4), message(2, 1, 2)}},
                                   {.messages = {message(1, 5, 3)}},
                                   {.messages = {message(4, 6, 1)}}});
  EXPECT_NEAR(times.paced, 7, 1e-9);
  EXPECT_NEAR(times.together, 4 + 3 + 1, 1e-9);
}

// 1->5 has nothing to wait for and takes half of the cable from 0->4, on which 4->0 waits.
TEST(Pace, WhoStartsSoonerMayCostTheOthersMore) {
  const Times times = times_of(
      without_latency(),
      {{.messages = {message(0, 4, 1)}}, {.messages = {message(1, 5, 9), message(4, 0, 9)}}});
  EXPECT_NEAR(times.together, 1 + 9, 1e-9);
  EXPECT_NEAR(times.paced, 2 + 9, 1e-9);
}

// 0->4 has half of the cable between the switches until 4. Whoever does not wait for that sends
// 0->2 with the other half of its own cable, and is done at 4, too.
TEST(Pace, WhatIsPostedKeepsNobody) {
  const std::vector<Round> rounds{{.messages = {message(0, 4, 2), message(1, 5, 2)}},
                                  {.messages = {message(0, 2, 2)}},
                                  {.messages = {message(2, 3, 1)}}};
  const Fabric fabric = without_latency();
  EXPECT_NEAR(times_of(fabric, rounds).paced, 4 + 2 + 1, 1e-9);
  EXPECT_NEAR(times_of(fabric, rounds, {}, {.awaits_sends = false}).paced, 4 + 1, 1e-9);
}

TEST(Pace, EveryMessageStartsOnceAndPassesItsHops) {
  const Fabric fabric = two_switches("latency: {start_us: 1000000, hop_us: 100000}\n");
  // 0->1 crosses two cables, 0->4 three.
  const Times times = times_of(fabric, {{.messages = {message(0, 1, 2)}, .repeats = 3},
                                        {.messages = {message(0, 4, 2), message(2, 3, 1)}}});
  EXPECT_NEAR(times.paced, 3 * (1 + 2 + 0.2) + (1 + 2 + 0.3), 1e-6);
  EXPECT_NEAR(times.together, times.paced, 1e-6);
}

TEST(Pace, AMessageIsThereWhenAllItsQpsAre) {
  const Fabric fabric = fabric_from(
      "name: test\ntopology: leaf-spine\nservers: {count: 4}\nleaf: {switches: 2, nics: 2}\n"
      "spine: {switches: 2}\nlatency: {start_us: 0, hop_us: 0}\n");
  const std::vector<Round> rounds{{.messages = {message(0, 2, 4), message(1, 3, 4)}},
                                  {.messages = {message(2, 0, 4), message(3, 1, 4)}}};
  const Times times = times_of(fabric, rounds, {.qps = 8});
  EXPECT_NEAR(times.paced, times.together, 0.5);
  EXPECT_GE(times.paced, 8 - 1e-9);
}

// 4 passes on what it gets. In one piece that is one after the other; in slices, one behind it.
TEST(Pace, SlicesFollowEachOtherDownAChain) {
  const std::vector<Round> chain{{.messages = {message(0, 4, 4)}},
                                 {.messages = {message(4, 5, 4)}}};
  const Fabric fabric = without_latency();
  EXPECT_NEAR(times_of(fabric, chain).paced, 8, 1e-9);
  EXPECT_NEAR(times_of(fabric, chain, {}, {.slices = 4}).paced, 4 + 1, 1e-9);
}

// 0 waits for the answer to a slice before it sends the next one, unless it may have more. What is
// ready leaves in order: of two slices the first is there at 2, the second at 3.
TEST(Pace, SoManySlicesAreInFlight) {
  const Fabric fabric = two_switches("latency: {start_us: 1000000, hop_us: 0}\n");
  const std::vector<Round> answered{{.messages = {message(0, 4, 4)}},
                                    {.messages = {message(4, 0, 4)}}};
  EXPECT_NEAR(times_of(fabric, answered, {}, {.slices = 4}).paced, 4 * (1 + 1 + 1 + 1), 1e-6);
  EXPECT_NEAR(times_of(fabric, answered, {}, {.slices = 4, .in_flight = 2}).paced, 9, 1e-6);
  EXPECT_NEAR(times_of(fabric, answered, {}, {.slices = 4, .in_flight = 9}).paced, 1 + 4 + 1 + 1,
              1e-6);
}

// Two slices at a time. 0->4 and 1->5 share the cable between the switches: slice 0 until 4, slice
// 1 until 8. At 4, 0->2 of slice 0 is ready; it is behind 0->4 of slice 1 and has the half of 0's
// cable that this leaves, until 8. Then 0->2 of slice 1 has all of it.
TEST(Pace, WhatIsBehindInTheLineTakesWhatIsLeft) {
  const std::vector<Round> rounds{{.messages = {message(0, 4, 4), message(1, 5, 4)}},
                                  {.messages = {message(0, 2, 4)}}};
  const Slicing slicing{.slices = 2, .in_flight = 2};
  EXPECT_NEAR(times_of(without_latency(), rounds, {}, slicing).paced, 10, 1e-9);
}

// 4 is at its slice 0 until the long message is there, at 12. What came for slice 1 at 4 it passes
// on only then, from 12 to 13, and from 5 it goes on from 13 to 22.5.
TEST(Pace, ASliceThatHasNotBegunSendsNothing) {
  const std::vector<Round> rounds{{.messages = {message(0, 4, 2)}},
                                  {.messages = {message(4, 5, 2)}},
                                  {.messages = {message(1, 4, 20)}},
                                  {.messages = {message(5, 2, 19)}}};
  EXPECT_NEAR(times_of(without_latency(), rounds, {}, {.slices = 2}).paced, 22.5, 1e-9);
}

struct Case {
  const char* order;
  const char* algorithm;
  First first;
};

Study study_of(const Fabric& fabric, const Case& one, Steps steps) {
  const Condition condition = whole(fabric);
  StudyOptions options;
  options.steps = steps;
  const std::string_view order = one.order;
  Seats seats = order == "sorted" ? sorted_seats(condition) : shuffled_seats(fabric, condition, 3);
  if (order == "alternating") seats = alternating_seats(fabric, condition);
  if (order == "mapped") {
    seats = map_ranks(fabric, condition, {.algorithm = one.algorithm, .first = one.first}).seats;
  }
  return study(fabric, condition, one.algorithm, one.first, seats, options);
}

TEST(Pace, IsTheSameWhereTheMessagesOfARoundTakeEquallyLong) {
  const Fabric fabric = make({4, 4, 4, 4, 1});
  const Fabric planes = fabric_from(
      "name: test\ntopology: bigraph\nplanes: 4\nservers: {count: 8, nics: 4}\n"
      "upper: {switches: 2, nics: 2}\nlower: {switches: 2, nics: 2}\n");
  for (const auto& [network, one] : {std::pair{&fabric, Case{"mapped", "hd", First::far}},
                                     {&fabric, {"mapped", "hd", First::near}},
                                     {&fabric, {"alternating", "ring", First::near}},
                                     {&planes, {"mapped", "twolevel", First::far}}}) {
    const double together = study_of(*network, one, Steps::together).seconds;
    EXPECT_NEAR(study_of(*network, one, Steps::free).seconds, together, 1e-6 * together)
        << one.algorithm;
  }
}

// Bytes on the busiest link, over all rounds.
double most_bytes(const Fabric& fabric, const Study& study) {
  const Routes routes(fabric, whole(fabric), study.options.seed);
  std::vector<double> chunks(fabric.graph.links().size());
  const auto add = [&](const RoutedRound& routed, const Routed& flow, std::uint32_t repeats) {
    for (const LinkId link : routed.path(flow)) chunks[index(link)] += flow.chunks * repeats;
  };
  for (const Round& round : study.traffic.rounds) {
    const RoutedRound routed = route_round(fabric, routes, study.seats, round, {});
    for (const Routed& flow : routed.flows) add(routed, flow, round.repeats);
  }
  return *std::ranges::max_element(chunks) / study.traffic.chunks *
         static_cast<double>(study.options.bytes);
}

TEST(Pace, NoCableIsFasterThanItIs) {
  const Fabric fabric = make({4, 4, 4, 4, 1});
  for (const Case& one : {Case{"sorted", "hd", First::near},
                          {"sorted", "hd", First::far},
                          {"shuffled", "hd", First::near},
                          {"shuffled", "ring", First::near},
                          {"shuffled", "tree", First::near},
                          {"shuffled", "bruck", First::near}}) {
    const Study free = study_of(fabric, one, Steps::free);
    EXPECT_GE(free.seconds, most_bytes(fabric, free) / rate) << one.order << " " << one.algorithm;
  }
}

TEST(Pace, WhatIsTooMuchToFollowIsRefused) {
  const Fabric fabric = make({16, 16, 32, 32, 1});
  EXPECT_THROW(study_of(fabric, {"sorted", "ring", First::near}, Steps::free), Error);
}

}  // namespace
}  // namespace accl::topology::test
