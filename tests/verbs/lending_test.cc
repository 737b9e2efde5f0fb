// lending_test.cc - large payloads in registered memory, which the device reads where they lie,
// over the fake libibverbs: who may change them when, and what a queue that breaks makes of them.
#include <infiniband/verbs.h>

#include <algorithm>
#include <cstring>

#include "tests/verbs/over_fake.h"

namespace accl::test {
namespace {

constexpr Geometry roomy{.lanes = 1, .ring_bytes = 1 << 20};
constexpr std::uint32_t large = 64 << 10;

class VerbsLending : public VerbsFake {
 protected:
  VerbsLending() : memory_(8 * large) {
    for (std::size_t i = 0; i < memory_.size(); ++i) memory_[i] = pattern(i);
  }

  static std::byte pattern(std::size_t i) { return static_cast<std::byte>(i * 7 + i / large); }

  std::pair<Joined, Joined> joined() const {
    const auto make_one = [] {
      return make_verbs_transport(roomy, {.shared_object = library(), .settings = settings_of({})});
    };
    return join(make_one(), make_one());
  }

  // Message number k: the payload `from`, in so many pieces.
  bool put(const Joined& from, std::span<const std::byte> payload, std::size_t pieces = 1) {
    const auto bytes = static_cast<std::uint32_t>(payload.size());
    const Place place = ring_.next(bytes);
    std::vector<std::span<const std::byte>> parts;
    for (std::size_t i = 0; i < pieces; ++i) {
      parts.push_back(payload.subspan(i * (bytes / pieces), bytes / pieces));
    }
    const Parcel parcel{.head = {.tag = 1, .bytes = bytes},
                        .offset = place.offset,
                        .until = place.until,
                        .pieces = parts};
    places_.push_back(place);
    ring_.take(bytes);
    return from.endpoint->put(0, parcel);
  }

  std::span<std::byte> part(std::size_t k) { return std::span(memory_).subspan(k * large, large); }

  static bool is_sent(const Joined& one, const Place& place) {
    return reached(one.endpoint->counters(0).sent, place.until);
  }

  static void poll_both(const Joined& here, const Joined& there, std::uint32_t until) {
    for (const Deadline deadline(patience); !deadline.passed();) {
      step(here, there);
      if (reached(there.endpoint->counters(0).arrived, until)) return;
    }
    ADD_FAILURE() << "not all arrived";
  }

  void scribble_over_sent(const Joined& one) {
    for (; scribbled_ < places_.size() && is_sent(one, places_[scribbled_]); ++scribbled_) {
      std::ranges::fill(part(scribbled_), std::byte{0xAA});
    }
  }

  void expect_payload(const Joined& at, std::size_t message, std::size_t from_part) const {
    const std::byte* const payload = at.endpoint->inbox(0) + places_[message].offset + 64;
    for (std::size_t i = 0; i < large; ++i) {
      ASSERT_EQ(payload[i], pattern(from_part * large + i)) << "byte " << i << " of " << message;
    }
  }

  std::vector<std::byte> memory_;
  Ring ring_{roomy.ring_bytes};
  std::vector<Place> places_;
  std::size_t scribbled_ = 0;
};

TEST_F(VerbsLending, WhatIsKnownIsSentFromWhereItLies) {
  auto [here, there] = joined();
  const std::unique_ptr<Region> region = here.transport->add({.bytes = memory_});
  fake_.reset();
  ASSERT_TRUE(put(here, part(1)));
  EXPECT_EQ(fake_.counts().gathered, 1U);
  EXPECT_FALSE(is_sent(here, places_[0])) << "nobody has acknowledged it";
  poll_until_arrived(there, places_[0].until);
  expect_payload(there, 0, 1);
  here.transport->poll();
  EXPECT_TRUE(is_sent(here, places_[0]));
}

TEST_F(VerbsLending, TheRestIsCopiedAndWaitsForWhatWasLentBefore) {
  auto [here, there] = joined();
  const std::unique_ptr<Region> region = here.transport->add({.bytes = part(0)});
  fake_.reset();
  ASSERT_TRUE(put(here, part(1)) && put(here, part(0).first(1000)) && put(here, part(0), 2));
  EXPECT_EQ(fake_.counts().gathered, 0U) << "unknown, small, in pieces";
  EXPECT_TRUE(is_sent(here, places_[2]));
  ASSERT_TRUE(put(here, part(0)) && put(here, part(1)));
  EXPECT_EQ(fake_.counts().gathered, 1U);
  EXPECT_FALSE(is_sent(here, places_[4])) << "it was copied, but it is behind what was lent";
  here.transport->poll();
  EXPECT_TRUE(is_sent(here, places_[4]));
  poll_until_arrived(there, places_[4].until);
  expect_payload(there, 3, 0);
  expect_payload(there, 4, 1);
}

TEST_F(VerbsLending, ManyMessagesGoRoundTheRing) {
  auto [here, there] = joined();
  const std::unique_ptr<Region> region = here.transport->add({.bytes = memory_});
  for (std::uint32_t round = 0; round < 300; ++round) {
    ASSERT_TRUE(put(here, part(round % 8))) << round;
    poll_until_arrived(there, places_.back().until);
    expect_payload(there, round, round % 8);
    ASSERT_FALSE(HasFailure());
    there.endpoint->release(0, places_.back().until);
    there.transport->poll();
    here.transport->poll();
    EXPECT_TRUE(is_sent(here, places_.back()));
  }
}

// The third of five breaks. What it and those behind it lent must stay until it was sent again;
// then it may change, as it does here at once.
TEST_F(VerbsLending, AQueueThatBreaksKeepsWhatDidNotArrive) {
  for (const int is_delivered : {0, 1}) {
    fake_.reset();
    places_.clear();
    scribbled_ = 0;
    ring_ = Ring(roomy.ring_bytes);
    auto [here, there] = joined();
    const std::unique_ptr<Region> region = here.transport->add({.bytes = memory_});
    fake_.break_request(3, IBV_WC_RETRY_EXC_ERR, is_delivered);
    std::vector<std::byte> kept = memory_;
    for (std::size_t k = 0; k < 5; ++k) ASSERT_TRUE(put(here, part(k)));
    EXPECT_EQ(fake_.counts().gathered, 3U) << "those behind it are flushed";
    for (const Deadline deadline(patience); !deadline.passed();) {
      scribble_over_sent(here);
      here.transport->poll();
      there.transport->poll();
      if (reached(there.endpoint->counters(0).arrived, places_[4].until)) break;
    }
    EXPECT_TRUE(is_sent(here, places_[4])) << "copies were sent again, and these may change";
    memory_ = std::move(kept);
    for (std::size_t k = 0; k < 5; ++k) expect_payload(there, k, k);
    EXPECT_EQ(here.endpoint->failure() + there.endpoint->failure(), "");
  }
}

// The port dies under what is lent, and another one does not know the memory the same way.
TEST_F(VerbsLending, AnotherPortSendsWhatWasLentToTheFirst) {
  fake_.set_devices(2);
  auto [here, there] = joined();
  const std::unique_ptr<Region> region = here.transport->add({.bytes = memory_});
  fake_.set_link(0, 0, 1);
  for (std::size_t k = 0; k < 3; ++k) ASSERT_TRUE(put(here, part(k)));
  EXPECT_FALSE(is_sent(here, places_[0]));
  poll_both(here, there, places_[2].until);
  for (std::size_t k = 0; k < 3; ++k) expect_payload(there, k, k);
  EXPECT_NE(here.endpoint->path().find("fake1"), std::string::npos) << here.endpoint->path();
  ASSERT_TRUE(put(here, part(3)));  // And lends again, to the new one.
  poll_both(here, there, places_[3].until);
  expect_payload(there, 3, 3);
  EXPECT_EQ(fake_.counts().gathered, 2U) << "the first of three, and this one";
}

// As the owner of memory may do after a call that failed.
TEST_F(VerbsLending, WhatTheOwnerTakesAwayIsSentAgainFromACopy) {
  auto [here, there] = joined();
  std::unique_ptr<Region> region = here.transport->add({.bytes = memory_});
  fake_.break_request(3, IBV_WC_RETRY_EXC_ERR, 0);
  for (std::size_t k = 0; k < 5; ++k) ASSERT_TRUE(put(here, part(k)));
  region.reset();
  std::ranges::fill(memory_, std::byte{0xAA});
  poll_both(here, there, places_[4].until);
  for (std::size_t k = 0; k < 5; ++k) expect_payload(there, k, k);
  EXPECT_EQ(here.endpoint->failure() + there.endpoint->failure(), "");
}

// The peer says farewell, or dies without, while the queues are being replaced.
TEST_F(VerbsLending, APeerThatLeavesInARestartEndsTheConnectionInWords) {
  for (int polls = 0; polls < 12; ++polls) {
    fake_.reset();
    places_.clear();
    ring_ = Ring(roomy.ring_bytes);
    auto [here, there] = joined();
    const std::unique_ptr<Region> region = here.transport->add({.bytes = memory_});
    fake_.break_request(2, IBV_WC_RETRY_EXC_ERR, 0);
    for (std::size_t k = 0; k < 4; ++k) ASSERT_TRUE(put(here, part(k)));
    for (int i = 0; i < polls; ++i) step(here, there);  // As far as that brings them.
    there.endpoint.reset();
    for (const Deadline deadline(patience); !here.endpoint->broken() && !deadline.passed();) {
      here.transport->poll();
      static_cast<void>(here.transport->arm());
      here.transport->disarm();
    }
    EXPECT_TRUE(here.endpoint->broken()) << "after " << polls << " polls";
    EXPECT_NE(here.endpoint->failure().find("rank 1"), std::string::npos);
  }
}

}  // namespace
}  // namespace accl::test
