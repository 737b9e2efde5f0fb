// conformance_test.cc - what transport.h promises, asked of every transport under every decorator,
// between threads and between processes.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <tuple>

#include "accl/base/error.h"
#include "tests/transport/member.h"
#include "tests/transport/table.h"

namespace accl::test {
namespace {

using Which = std::tuple<TransportRow, DecoratorRow, As>;

class Conformance : public testing::TestWithParam<Which> {
 protected:
  bool is_in_one_process() const { return std::get<0>(GetParam()).is_in_one_process; }
  void SetUp() override {
    const bool needs_others = std::get<2>(GetParam()) == As::processes;
    if (needs_others && is_in_one_process()) GTEST_SKIP() << "a stand-in within one process";
  }
  std::unique_ptr<Transport> make(const Geometry& geometry, std::uint32_t me) const {
    return std::get<1>(GetParam()).wrap(std::get<0>(GetParam()).make(geometry, me));
  }
  void play(std::uint32_t ranks, const Geometry& geometry, const Script& script, Idle idle) const {
    run_ranks(ranks, std::get<2>(GetParam()), [&](std::uint32_t me, Meetings meetings) {
      Member member(make(geometry, me), geometry, me, std::move(meetings));
      member.play(script, idle);
    });
  }
};

TEST_P(Conformance, SizesRoundEveryEdgeWrapAroundTheRing) {
  const Geometry geometry{.lanes = 2, .ring_bytes = 64 << 10};
  const std::uint32_t largest = Ring::largest_bytes(geometry.ring_bytes);
  const Script script{.messages = 150,
                      .sizes = {0, 1, 8, 47, 48, 49, 63, 64, 65, 4095, 4096, 4097, largest - 1,
                                largest, 511, 512, 513}};
  play(2, geometry, script, Idle::yield);
}

TEST_P(Conformance, RandomSizesOnAllLanes) {
  const Geometry geometry{.lanes = 4, .ring_bytes = 128 << 10};
  const Script script{
      .messages = 400, .sizes = {}, .largest_bytes = Ring::largest_bytes(geometry.ring_bytes)};
  play(2, geometry, script, Idle::yield);
}

TEST_P(Conformance, LargeRing) {
  const Geometry geometry{.lanes = 1, .ring_bytes = 4 << 20};
  const Script script{.messages = 25,
                      .sizes = {Ring::largest_bytes(geometry.ring_bytes), 8, 1 << 20}};
  play(2, geometry, script, Idle::yield);
}

TEST_P(Conformance, ManyPeers) {
  const Geometry geometry{.lanes = 2, .ring_bytes = 16 << 10};
  const Script script{
      .messages = 40, .sizes = {}, .largest_bytes = Ring::largest_bytes(geometry.ring_bytes)};
  play(6, geometry, script, Idle::yield);
}

// Whoever has nothing to do sleeps, at once. A wake-up that is lost ends the test.
TEST_P(Conformance, SleepersWakeForEachMessageOfAPingPong) {
  const Geometry geometry{.lanes = 1, .ring_bytes = 4096};
  const Script script{.messages = 1500, .sizes = {8, 0, 100}, .alternates = true};
  play(2, geometry, script, Idle::sleep);
}

TEST_P(Conformance, SleepersWakeForRoomInTheRing) {
  const Geometry geometry{.lanes = 3, .ring_bytes = 16 << 10};
  const Script script{
      .messages = 300, .sizes = {}, .largest_bytes = Ring::largest_bytes(geometry.ring_bytes)};
  play(3, geometry, script, Idle::sleep);
}

TEST_P(Conformance, SleepersWakeForLargeMessages) {
  const Geometry geometry{.lanes = 2, .ring_bytes = 2 << 20};
  const Script script{.messages = 30, .sizes = {Ring::largest_bytes(geometry.ring_bytes), 0}};
  play(2, geometry, script, Idle::sleep);
}

// What a test of one rank alone needs of the other one.
class ConformancePair : public Conformance {
 protected:
  static constexpr Geometry geometry{.lanes = 4, .ring_bytes = 1 << 20};

  void SetUp() override {
    std::tie(here_, there_) = join_pair(make(geometry, 0), make(geometry, 1));
  }

  // Tries until it is accepted, as random refusals want it.
  static bool put(Endpoint& endpoint, std::uint32_t lane, const Place& place, const Head& head,
                  std::span<const std::byte> payload) {
    if (std::byte* const outbox = endpoint.outbox(lane); outbox != nullptr) {
      std::memcpy(outbox + place.offset, &head, sizeof head);
      std::memcpy(outbox + place.offset + payload_offset(head.bytes), payload.data(),
                  payload.size());
    }
    const bool is_push = endpoint.outbox(lane) == nullptr;
    const Parcel parcel{.head = head,
                        .offset = place.offset,
                        .until = place.until,
                        .pieces = {&payload, is_push ? std::size_t{1} : std::size_t{0}}};
    for (int i = 0; i < 100; ++i) {
      if (endpoint.put(lane, parcel)) return true;
    }
    return false;
  }

  bool poll_until(const std::function<bool()>& done) {
    for (const Deadline deadline(patience); !deadline.passed();) {
      here_.transport->poll();
      there_.transport->poll();
      if (done()) return true;
    }
    return false;
  }

  Joined here_, there_;
};

// Nobody reads at the other end: a push transport must refuse sooner or later, a pull transport
// must take all that the ring holds. Then all that was accepted arrives, and the refused one too.
TEST_P(ConformancePair, RefusesWhatItCannotQueueAndGoesOnLater) {
  constexpr std::uint32_t bytes = 4032;  // With its head 4096: the ring holds 256.
  const std::vector<std::byte> payload(bytes, std::byte{7});
  Ring out(geometry.ring_bytes);
  std::uint32_t accepted = 0;
  const auto try_all = [&] {
    for (; accepted < 256; ++accepted, out.take(bytes)) {
      const Head head{.tag = accepted, .bytes = bytes, .flags = 0};
      if (!put(*here_.endpoint, 0, out.next(bytes), head, payload)) return;
    }
  };
  try_all();
  const bool is_push = std::get<0>(GetParam()).is_push;
  EXPECT_EQ(accepted < 256, is_push) << accepted;
  ASSERT_TRUE(poll_until([&] {
    try_all();
    return reached(there_.endpoint->counters(0).arrived, 256 * 4096 / ring_unit_bytes);
  }));
  for (std::uint32_t i = 0; i < 256; ++i) {
    Head head;
    std::memcpy(&head, there_.endpoint->inbox(0) + std::size_t{i} * 4096, sizeof head);
    EXPECT_EQ(head.tag, i);
  }
}

TEST_P(ConformancePair, ReleasesTravelEvenIfNothingElseDoes) {
  const std::vector<std::byte> payload(8);
  const Head head{.tag = 1, .bytes = 8, .flags = 0};
  ASSERT_TRUE(put(*here_.endpoint, 2, Place{0, 1}, head, payload));
  ASSERT_TRUE(poll_until([&] { return reached(there_.endpoint->counters(2).arrived, 1); }));
  EXPECT_EQ(here_.endpoint->counters(2).released->load(), 0U);
  there_.endpoint->release(2, 1);
  EXPECT_TRUE(poll_until([&] { return reached(here_.endpoint->counters(2).released, 1); }));
  EXPECT_EQ(here_.endpoint->counters(1).released->load(), 0U) << "of another lane";
}

// A release must also leave if its rank goes to sleep instead of polling.
TEST_P(ConformancePair, ReleasesTravelBeforeASleep) {
  const std::vector<std::byte> payload(8);
  const Head head{.tag = 1, .bytes = 8, .flags = 0};
  ASSERT_TRUE(put(*here_.endpoint, 0, Place{0, 1}, head, payload));
  ASSERT_TRUE(poll_until([&] { return reached(there_.endpoint->counters(0).arrived, 1); }));
  there_.endpoint->release(0, 1);
  static_cast<void>(there_.transport->arm());
  for (const Deadline deadline(patience); !deadline.passed();) {
    here_.transport->poll();
    if (reached(here_.endpoint->counters(0).released, 1)) break;
  }
  EXPECT_TRUE(reached(here_.endpoint->counters(0).released, 1));
  there_.transport->disarm();
}

TEST_P(ConformancePair, ExpectedPayloadsLandInTheirTarget) {
  constexpr std::uint32_t bytes = 5000;
  std::vector<std::byte> payload(bytes, std::byte{9}), target(bytes), wrong(bytes - 1);
  Ring ring(geometry.ring_bytes);
  const Place first = ring.next(bytes);
  ring.take(bytes);
  const Place second = ring.next(bytes);
  const bool promised = there_.endpoint->expect(0, first.until, target);
  EXPECT_EQ(promised, std::get<0>(GetParam()).offers_targets);
  const bool promised_wrong = promised && there_.endpoint->expect(0, second.until, wrong);
  EXPECT_FALSE(there_.endpoint->took(0, first.until)) << "nothing was sent yet";

  const Head head{.tag = 5, .bytes = bytes, .flags = 0};
  ASSERT_TRUE(put(*here_.endpoint, 0, first, head, payload));
  ASSERT_TRUE(put(*here_.endpoint, 0, second, head, payload));
  ASSERT_TRUE(
      poll_until([&] { return reached(there_.endpoint->counters(0).arrived, second.until); }));
  const std::byte* const inbox = there_.endpoint->inbox(0);
  EXPECT_EQ(there_.endpoint->took(0, first.until), promised);
  EXPECT_EQ(target == payload, promised) << "and nothing else of ours is written";
  EXPECT_EQ(std::memcmp(inbox + first.offset, &head, sizeof head), 0) << "the head always comes";
  EXPECT_FALSE(there_.endpoint->took(0, second.until)) << "no place, or one of another size";
  EXPECT_EQ(std::memcmp(inbox + second.offset + 64, payload.data(), bytes), 0) << promised_wrong;
  EXPECT_FALSE(there_.endpoint->expect(0, second.until, target)) << "too late";
}

class ConformancePush : public ConformancePair {};

TEST_P(ConformancePush, PiecesAreTakenUntilSentSaysSo) {
  constexpr std::uint32_t bytes = 300 << 10;
  std::vector<std::byte> payload(bytes, std::byte{3});
  std::vector<std::span<const std::byte>> pieces;
  for (std::size_t at = 0; at < max_pieces; ++at) {
    pieces.push_back(std::span(payload).subspan(at * bytes / max_pieces, bytes / max_pieces));
  }
  const Place place = Ring(geometry.ring_bytes).next(bytes);
  const Parcel parcel{.head = {.tag = 1, .bytes = bytes, .flags = 0},
                      .offset = 0,
                      .until = place.until,
                      .pieces = pieces};
  for (int i = 0; i < 100 && !here_.endpoint->put(0, parcel);) ++i;
  ASSERT_TRUE(poll_until([&] { return reached(here_.endpoint->counters(0).sent, place.until); }));
  std::ranges::fill(payload, std::byte{4});
  ASSERT_TRUE(
      poll_until([&] { return reached(there_.endpoint->counters(0).arrived, place.until); }));
  const auto inbox = std::span(there_.endpoint->inbox(0), 64 + bytes).subspan(64);
  EXPECT_TRUE(std::ranges::all_of(inbox, [](std::byte byte) { return byte == std::byte{3}; }));
}

TEST_P(ConformancePush, SleepersWakeWhenThePeerLeaves) {
  const bool armed = here_.transport->arm();
  ASSERT_TRUE(armed);
  there_ = {};
  pollfd event{here_.transport->event_fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&event, 1, static_cast<int>(patience.count())), 1);
  here_.transport->disarm();
  here_.transport->poll();
  EXPECT_TRUE(here_.endpoint->broken());
  static_cast<void>(here_.transport->arm());
  EXPECT_EQ(::poll(&event, 1, 0), 0) << "a broken connection must not keep others awake";
  here_.transport->disarm();
}

// Registered memory is seen by the peer, or null is given on both sides.
TEST_P(ConformancePair, RegionsAreViewedOrNotOffered) {
  std::vector<std::byte> memory(10000, std::byte{5});
  const std::unique_ptr<Region> region = here_.transport->add({.bytes = memory});
  const RegionKey key = region != nullptr ? region->key() : RegionKey{};
  const std::byte* const seen = there_.endpoint->view(key, 100, 1000);
  if (seen != nullptr) {
    ASSERT_NE(region, nullptr);
    EXPECT_EQ(std::memcmp(seen, memory.data() + 100, 1000), 0);
  }
}

TEST_P(ConformancePair, NothingIsReadyUntilSomethingCame) {
  for (int i = 0; i < 200; ++i) here_.transport->poll();
  const bool armed = here_.transport->arm();
  EXPECT_TRUE(armed);
  here_.transport->disarm();
  EXPECT_FALSE(here_.endpoint->broken());
  EXPECT_EQ(here_.endpoint->failure(), "");
}

// What a killed peer had sent arrives; then a push transport says who is gone. A pull transport is
// silent: others watch processes.
TEST_P(Conformance, AKilledPeerIsNamed) {
  if (is_in_one_process()) GTEST_SKIP() << "a stand-in within one process";
  const Geometry geometry{.lanes = 1, .ring_bytes = 64 << 10};
  auto [mine, theirs] = connected_pair();
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  const auto live_and_die = [&]() noexcept {  // Or it would run the rest of the suite.
    mine.reset();
    auto transport = make(geometry, 1);
    auto endpoint = transport->open(Rank(0), std::move(theirs));
    endpoint->finish(Deadline(patience));
    if (std::byte* const outbox = endpoint->outbox(0)) new (outbox) Head{.tag = 77};
    const Parcel parcel{.head = {.tag = 77}, .offset = 0, .until = 1, .pieces = {}};
    while (!endpoint->put(0, parcel)) transport->poll();
    ::raise(SIGKILL);
  };
  if (child == 0) live_and_die();
  theirs.reset();
  auto transport = make(geometry, 0);
  auto endpoint = transport->open(Rank(1), std::move(mine));
  endpoint->finish(Deadline(patience));
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  const bool is_push = std::get<0>(GetParam()).is_push;
  EXPECT_EQ(endpoint->outbox(0) == nullptr, is_push);
  const auto done = [&] {
    return reached(endpoint->counters(0).arrived, 1) && endpoint->broken() == is_push;
  };
  for (const Deadline deadline(patience); !deadline.passed() && !done();) transport->poll();
  EXPECT_TRUE(done());
  EXPECT_EQ(reinterpret_cast<const Head*>(endpoint->inbox(0))->tag, 77U);
  EXPECT_EQ(endpoint->failure().find("rank 1") != std::string::npos, is_push);
  const Parcel parcel{.head = {}, .offset = 0, .until = 1, .pieces = {}};
  EXPECT_FALSE(is_push && endpoint->put(0, parcel));
  for (int i = 0; i < 100; ++i) transport->poll();
}

TEST_P(Conformance, DifferentGeometryIsToldWithBothValues) {
  auto [mine, theirs] = connected_pair();
  auto first = make({.lanes = 2, .ring_bytes = 64 << 10}, 0);
  auto second = make({.lanes = 3, .ring_bytes = 128 << 10}, 1);
  auto here = first->open(Rank(1), std::move(mine));
  auto there = second->open(Rank(0), std::move(theirs));
  try {
    here->finish(Deadline(patience));
    FAIL() << "joined a peer of another geometry";
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("rank 1"), text.npos) << text;
    EXPECT_NE(text.find("65536"), text.npos) << text;
    EXPECT_NE(text.find("131072"), text.npos) << text;
  }
}

TEST_P(Conformance, APeerThatDoesNotComeIsATimeout) {
  auto [mine, theirs] = connected_pair();
  auto transport = make({.lanes = 2, .ring_bytes = 64 << 10}, 0);
  auto endpoint = transport->open(Rank(1), std::move(mine));
  try {
    endpoint->finish(Deadline(Milliseconds(20)));
    FAIL() << "joined nobody";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::timeout) << error.what();
    EXPECT_NE(std::string(error.what()).find("rank 1"), std::string::npos) << error.what();
  }
}

TEST_P(Conformance, APeerThatLeavesBeforeItGreetsIsNamed) {
  auto [mine, theirs] = connected_pair();
  auto transport = make({.lanes = 2, .ring_bytes = 64 << 10}, 0);
  auto endpoint = transport->open(Rank(1), std::move(mine));
  theirs.reset();
  try {
    endpoint->finish(Deadline(patience));
    FAIL() << "joined nobody";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::remote) << error.what();
    EXPECT_NE(std::string(error.what()).find("rank 1"), std::string::npos) << error.what();
  }
}

std::string name_row(const testing::TestParamInfo<Which>& info) {
  const auto& [transport, decorator, as] = info.param;
  return transport.name + "_" + decorator.name + (as == As::threads ? "_threads" : "_processes");
}

std::vector<TransportRow> push_rows() {
  std::vector<TransportRow> rows = transport_rows();
  std::erase_if(rows, [](const TransportRow& row) { return !row.is_push; });
  return rows;
}

const auto all_transports = testing::ValuesIn(transport_rows());
const auto push_transports = testing::ValuesIn(push_rows());
const auto decorators = testing::ValuesIn(decorator_rows());
const auto both = testing::Values(As::threads, As::processes);
const auto threads = testing::Values(As::threads);

INSTANTIATE_TEST_SUITE_P(All, Conformance, testing::Combine(all_transports, decorators, both),
                         name_row);
INSTANTIATE_TEST_SUITE_P(All, ConformancePair,
                         testing::Combine(all_transports, decorators, threads), name_row);
INSTANTIATE_TEST_SUITE_P(All, ConformancePush,
                         testing::Combine(push_transports, decorators, threads), name_row);

}  // namespace
}  // namespace accl::test
