// silence_test.cc - a path that carries nothing any more, told from a peer that is slow, over the
// fake libibverbs, which holds back what is sent.
#include <atomic>
#include <chrono>
#include <thread>

#include "tests/verbs/over_fake.h"

namespace accl::test {
namespace {

// The least there is: what it is for a device whose own timer is short.
constexpr std::uint32_t stalled_ms = 500;

bool holds(const std::string& text, const std::string& word) {
  return text.find(word) != std::string::npos;
}

class VerbsSilence : public VerbsFake {
 protected:
  static std::pair<Joined, Joined> joined(const Environment& environment = {
                                              {"ACCL_IB_TIMEOUT", "10"}}) {
    return join(make(environment), make(environment));
  }

  // One message on a lane.
  void put(const Joined& from, std::uint32_t bytes, std::uint32_t lane = 0) {
    const std::span<const std::byte> piece(payload_.data(), bytes);
    const Place place = rings_[lane].next(bytes);
    ASSERT_TRUE(from.endpoint->put(lane, {.head = {.tag = 1, .bytes = bytes},
                                          .offset = place.offset,
                                          .until = place.until,
                                          .pieces = {&piece, 1}}));
    rings_[lane].take(bytes);
  }

  // As ranks do who wait; gives what is said in the end, or as soon as anything is.
  static std::optional<Stall> watch(const Joined& here, const Joined& there, int ms) {
    for (const Deadline deadline{Milliseconds(ms)}; !deadline.passed();) {
      step(here, there);
      const std::optional<Stall> stall = here.endpoint->stall();
      if (stall) return stall;
      std::this_thread::sleep_for(Milliseconds(5));
    }
    return here.endpoint->stall();
  }

  std::vector<std::byte> payload_ = std::vector<std::byte>(10'000, std::byte{1});
  std::array<Ring, 2> rings_{Ring(geometry.ring_bytes), Ring(geometry.ring_bytes)};
};

TEST_F(VerbsSilence, WhatIsNotAcknowledgedIsSaidOfTheEndThatSends) {
  auto [here, there] = joined();
  put(here, 10'000);
  EXPECT_FALSE(watch(here, there, 50));
  fake_.hold(1);
  put(here, 10'000);
  const std::optional<Stall> stall = watch(here, there, 10'000);
  ASSERT_TRUE(stall);
  EXPECT_GE(stall->silent_ms, stalled_ms);
  EXPECT_EQ(stall->retransmissions, 0U) << "nobody knows";
  EXPECT_FALSE(there.endpoint->stall()) << "it sends nothing";
  EXPECT_EQ(here.endpoint->failure(), "") << "the device may still bring it";
}

// The last messages of a call are often so small that none asks for an answer.
TEST_F(VerbsSilence, SmallMessagesThatAskForNoAnswerAreMissedToo) {
  auto [here, there] = joined();
  fake_.hold(1);
  put(here, 8, 1);
  EXPECT_TRUE(watch(here, there, 10'000));
}

TEST_F(VerbsSilence, WhereNothingIsLostNothingIsSaid) {
  auto [here, there] = joined();
  const std::uint64_t before = fake_.counts().requests;
  put(here, 8);
  put(here, 8, 1);
  EXPECT_FALSE(watch(here, there, 2 * stalled_ms));
  EXPECT_EQ(fake_.counts().requests - before, 4U) << "each lane asked once for an answer";
}

// It takes nothing, releases nothing and does not even look; but its device answers.
TEST_F(VerbsSilence, APeerThatIsSlowIsNoDeadPath) {
  auto [here, there] = joined();
  Ring ring(geometry.ring_bytes);
  EXPECT_GT(fill(*here.endpoint, ring, 3000), 10U);
  for (const Deadline deadline{Milliseconds(2 * stalled_ms)}; !deadline.passed();) {
    here.transport->poll();
    static_cast<void>(here.transport->arm());
    here.transport->disarm();
    EXPECT_FALSE(here.endpoint->stall());
    std::this_thread::sleep_for(Milliseconds(5));
  }
}

// The answer came while this rank was busy with other things, and lies there.
TEST_F(VerbsSilence, ARankThatLooksSeldomDoesNotTakeItsOwnSilenceForThePaths) {
  auto [here, there] = joined();
  fake_.hold(1);
  put(here, 10'000);
  step(here, there);
  step(here, there);  // This one has looked.
  fake_.hold(0);
  std::this_thread::sleep_for(Milliseconds(stalled_ms + 200));
  EXPECT_FALSE(here.endpoint->stall());
  step(here, there);
  EXPECT_FALSE(here.endpoint->stall());
}

// It was stopped, say, with a message under way.
TEST_F(VerbsSilence, TimeInWhichNobodyLookedIsNoSilence) {
  auto [here, there] = joined();
  step(here, there);
  fake_.hold(1);
  put(here, 10'000);
  std::this_thread::sleep_for(Milliseconds(stalled_ms + 200));
  step(here, there);
  step(here, there);
  EXPECT_FALSE(here.endpoint->stall());
  EXPECT_TRUE(watch(here, there, 10'000)) << "of a path that is dead";
  fake_.hold(0);
}

TEST_F(VerbsSilence, OneLaneThatIsDeadIsEnoughWhileOthersMove) {
  auto [here, there] = joined();
  fake_.hold(1);
  put(here, 10'000, 0);
  fake_.hold(2);
  std::optional<Stall> stall;
  for (const Deadline deadline{Milliseconds(10'000)}; !stall && !deadline.passed();) {
    put(here, 100, 1);
    there.endpoint->release(1, there.endpoint->counters(1).arrived->load());
    stall = watch(here, there, 20);
  }
  EXPECT_TRUE(stall);
}

// It goes on while queues are replaced, and ends with the first answer over the new ones.
TEST_F(VerbsSilence, IsOverWhereAnotherPortGoesOn) {
  fake_.set_devices(2);
  auto [here, there] = joined();
  fake_.hold(1);
  put(here, 10'000);
  EXPECT_TRUE(watch(here, there, 10'000));
  fake_.set_link(0, 0, 1);
  const auto path = [&] { return here.endpoint->path(); };
  for (const Deadline deadline(patience); !holds(path(), "fake1") && !deadline.passed();) {
    step(here, there);
    EXPECT_TRUE(here.endpoint->stall());
  }
  fake_.hold(0);
  for (const Deadline deadline(patience); !deadline.passed();) {
    step(here, there);
    if (reached(there.endpoint->counters(0).arrived, rings_[0].position())) break;
  }
  EXPECT_TRUE(holds(path(), "fake1")) << path();
  for (int i = 0; i < 3; ++i) step(here, there);
  EXPECT_FALSE(here.endpoint->stall());
}

// The time is the device's: one that waits for a second before it sends again is given two.
TEST_F(VerbsSilence, ADeviceWithALongTimerIsGivenLonger) {
  auto [here, there] = joined({{"ACCL_IB_TIMEOUT", "18"}});
  fake_.hold(1);
  put(here, 10'000);
  EXPECT_FALSE(watch(here, there, 1500));
  const std::optional<Stall> stall = watch(here, there, 10'000);
  ASSERT_TRUE(stall);
  EXPECT_GE(stall->silent_ms, 2100U);
}

TEST_F(VerbsSilence, AnyThreadMayAsk) {
  auto [here, there] = joined();
  std::atomic<std::uint32_t> silent_ms = 0;
  std::atomic<bool> is_over = false;
  const Endpoint& endpoint = *here.endpoint;
  std::thread asking([&] {
    while (!is_over) {
      if (const auto stall = endpoint.stall()) silent_ms = stall->silent_ms;
      std::this_thread::yield();
    }
  });
  fake_.hold(1);
  put(here, 10'000);
  for (const Deadline deadline(patience); silent_ms == 0 && !deadline.passed();) step(here, there);
  is_over = true;
  asking.join();
  EXPECT_GE(silent_ms, stalled_ms);
}

}  // namespace
}  // namespace accl::test
