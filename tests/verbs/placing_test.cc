// placing_test.cc - large payloads that a receiver expects in registered memory, over the fake
// libibverbs: which of them land there, which come through the ring, and what queues that break
// make of both.
#include <infiniband/verbs.h>

#include <algorithm>
#include <cstring>

#include "tests/verbs/alone.h"
#include "tests/verbs/over_fake.h"
#include "transport/verbs/grant.h"

namespace accl::test {
namespace {

constexpr Geometry roomy{.lanes = 1, .ring_bytes = 1 << 20};
constexpr std::uint32_t large = 40 << 10;
constexpr std::size_t parts = 20;

class VerbsPlacing : public VerbsFake {
 protected:
  VerbsPlacing() : sources_(parts * large), targets_(parts * large) {}

  static std::byte pattern(std::size_t message, std::size_t i) {
    return static_cast<std::byte>(i * 7 + i / 255 + message * 31 + 1);
  }

  // The receiver's device knows the targets; the sender's the sources, if it may.
  void join_both(bool lends = true, const Geometry& geometry = roomy) {
    const auto make_one = [&](std::uint32_t turn) {
      return make_verbs_transport(
          geometry, {.shared_object = library(), .settings = settings_of({}), .turn = turn});
    };
    regions_.clear();
    joined_.reset();
    joined_.emplace(join(make_one(0), make_one(1)));
    regions_.push_back(there().transport->add({.bytes = targets_}));
    if (lends) regions_.push_back(here().transport->add({.bytes = sources_}));
    ring_ = Ring(geometry.ring_bytes);
    expected_ = Ring(geometry.ring_bytes);
    places_.clear();
    fake_.reset();
  }
  void TearDown() override {
    regions_.clear();
    joined_.reset();
    VerbsFake::TearDown();
  }
  Joined& here() { return joined_->first; }
  Joined& there() { return joined_->second; }

  std::span<std::byte> source(std::size_t k) {
    return std::span(sources_).subspan(k % parts * large, large);
  }
  std::span<std::byte> target(std::size_t k) {
    return std::span(targets_).subspan(k % parts * large, large);
  }

  // Message number k, from its source, in so many pieces.
  bool put(std::size_t k, std::size_t pieces = 1) {
    const std::span<std::byte> payload = source(k);
    for (std::size_t i = 0; i < large; ++i) payload[i] = pattern(k, i);
    std::vector<std::span<const std::byte>> cut;
    for (std::size_t i = 0; i < pieces; ++i) {
      cut.push_back(payload.subspan(i * (large / pieces), large / pieces));
    }
    const Place place = ring_.next(large);
    const Head head{.stamp = 6, .tag = static_cast<std::uint32_t>(k), .bytes = large, .flags = 5};
    if (!here().endpoint->put(
            0, {.head = head, .offset = place.offset, .until = place.until, .pieces = cut})) {
      return false;
    }
    places_.push_back(place);
    ring_.take(large);
    return true;
  }

  // Expects the next of the messages; `bytes` is what its target has.
  bool expect_next(std::size_t k, std::uint32_t bytes = large) {
    std::ranges::fill(target(k), std::byte{0xDD});
    const std::uint32_t until = expected_.next(large).until;
    expected_.take(large);
    return there().endpoint->expect(0, until, target(k).first(bytes));
  }
  void expect_none() { expected_.take(large); }

  void bring(std::size_t k) {
    for (const Deadline deadline(patience); !deadline.passed();) {
      step(here(), there());
      if (reached(there().endpoint->counters(0).arrived, places_[k].until)) return;
    }
    ADD_FAILURE() << "message " << k << " did not arrive: " << here().endpoint->failure()
                  << there().endpoint->failure();
  }

  bool took(std::size_t k) { return there().endpoint->took(0, places_[k].until); }

  // It arrived, in its target or in the ring as took() says, and nowhere else.
  void look_at(std::size_t k) {
    const std::byte* const message = there().endpoint->inbox(0) + places_[k].offset;
    Head head;
    std::memcpy(&head, message, sizeof head);
    ASSERT_EQ(head.tag, k);
    ASSERT_EQ(head.bytes, large);
    ASSERT_EQ(head.stamp, 6U) << "large messages are written by whole lines";
    const std::byte* const payload = took(k) ? target(k).data() : message + 64;
    for (std::size_t i = 0; i < large; ++i) ASSERT_EQ(payload[i], pattern(k, i)) << k << ", " << i;
  }
  void release(std::size_t k) { there().endpoint->release(0, places_[k].until); }

  bool is_sent(std::size_t k) {
    return reached(here().endpoint->counters(0).sent, places_[k].until);
  }
  static bool is_all(std::span<const std::byte> bytes, std::byte value) {
    return std::ranges::all_of(bytes, [&](std::byte byte) { return byte == value; });
  }

  std::vector<std::byte> sources_, targets_;
  std::optional<std::pair<Joined, Joined>> joined_;
  std::vector<std::unique_ptr<Region>> regions_;
  Ring ring_{roomy.ring_bytes}, expected_{roomy.ring_bytes};
  std::vector<Place> places_;
};

TEST_F(VerbsPlacing, WhatIsExpectedInTimeLandsInItsPlace) {
  for (const bool lends : {true, false}) {
    join_both(lends);
    ASSERT_TRUE(expect_next(0));
    EXPECT_EQ(fake_.counts().unannounced, 1U) << "the grant";
    EXPECT_EQ(fake_.counts().inlined, 1U);
    ASSERT_TRUE(put(0, lends ? 1 : 4));
    EXPECT_EQ(fake_.counts().unannounced, 2U) << "the payload";
    EXPECT_EQ(fake_.counts().doorbells, 2U) << "payload and head in one call of the driver";
    EXPECT_EQ(is_sent(0), !lends);
    EXPECT_FALSE(took(0)) << "nobody was told yet";
    bring(0);
    EXPECT_TRUE(took(0));
    EXPECT_TRUE(is_sent(0));
    look_at(0);
    const std::byte* const in_ring = there().endpoint->inbox(0) + places_[0].offset + 64;
    EXPECT_TRUE(is_all({in_ring, large}, std::byte{0})) << "the ring was spared";
  }
}

TEST_F(VerbsPlacing, NothingWaitsForAGrantAndALateOneHarmsNobody) {
  join_both();
  ASSERT_TRUE(put(0));
  ASSERT_TRUE(expect_next(0)) << "it is on its way, but this rank does not know";
  expect_none();
  ASSERT_TRUE(put(1));
  ASSERT_TRUE(expect_next(2));
  ASSERT_TRUE(put(2));
  bring(2);
  for (const std::size_t k : {0U, 1U, 2U}) look_at(k);
  EXPECT_FALSE(took(0) || took(1));
  EXPECT_TRUE(took(2));
  EXPECT_TRUE(is_all(target(0), std::byte{0xDD}));
  expected_ = Ring(roomy.ring_bytes);
  EXPECT_FALSE(expect_next(0)) << "too late";
}

// Positions count all that came before them.
TEST_F(VerbsPlacing, NothingComesBehindAPayloadThatWasGrantedNoPlace) {
  AloneChannel alone(library());
  const std::vector<std::uint32_t> untils{2, 4, 6};
  for (const std::uint32_t until : untils) {
    NullDevice::deliver(0, until, until == 4);
    alone.channel().poll();
  }
  EXPECT_EQ(alone.channel().counters(0).arrived->load(), 2U);
  EXPECT_TRUE(alone.channel().is_ending());
}

TEST_F(VerbsPlacing, WhatDoesNotFitGoesThroughTheRing) {
  join_both();
  ASSERT_TRUE(expect_next(0, large - 1)) << "of another size, which only the sender can know";
  ASSERT_TRUE(expect_next(1));
  ASSERT_TRUE(put(0) && put(1));
  bring(1);
  look_at(0);
  look_at(1);
  EXPECT_FALSE(took(0));
  EXPECT_TRUE(took(1));
  EXPECT_TRUE(is_all(target(0), std::byte{0xDD}));
  fake_.reset();
  std::vector<std::byte> unknown(large);
  const std::uint32_t until = expected_.next(large).until;
  EXPECT_FALSE(there().endpoint->expect(0, until, unknown));
  EXPECT_FALSE(there().endpoint->expect(0, until, target(2).first(1000))) << "too small to pay";
  const std::span<std::byte> beyond(targets_.data() + targets_.size() - large / 2, large);
  EXPECT_FALSE(there().endpoint->expect(0, until, beyond)) << "only half of it is known";
  EXPECT_EQ(fake_.counts().requests, 0U);
  ASSERT_TRUE(put(2));
  bring(2);
  look_at(2);
}

TEST_F(VerbsPlacing, NoMoreIsGrantedThanTheMailboxHolds) {
  join_both();
  for (std::uint32_t k = 0; k < verbs::mailbox_slots; ++k) ASSERT_TRUE(expect_next(k)) << k;
  const std::uint32_t next = expected_.next(large).until;
  EXPECT_FALSE(there().endpoint->expect(0, next, target(16)));
  ASSERT_TRUE(put(0));
  bring(0);
  EXPECT_FALSE(there().endpoint->expect(0, next, target(16))) << "took() may still be asked";
  look_at(0);
  EXPECT_TRUE(took(0));
  release(0);
  EXPECT_TRUE(there().endpoint->expect(0, next, target(16)));
  for (std::size_t k = 1; k < 17; ++k) {
    ASSERT_TRUE(put(k)) << k;
    bring(k);
    look_at(k);
    EXPECT_TRUE(took(k));
    release(k);
  }
}

TEST_F(VerbsPlacing, AMixtureGoesRoundTheRing) {
  for (const bool lends : {true, false}) {
    join_both(lends);
    std::uint32_t placed = 0;
    for (std::size_t k = 0; k < 400; ++k) {
      ASSERT_TRUE(k % 3 != 0 || expect_next(k));
      if (k % 3 == 1) expect_none();
      ASSERT_TRUE(put(k)) << k;
      ASSERT_TRUE(k % 3 != 2 || expect_next(k)) << "late";
      bring(k);
      look_at(k);
      EXPECT_EQ(took(k), k % 3 == 0);
      placed += took(k);
      release(k);
      step(here(), there());
      ASSERT_FALSE(HasFailure()) << k;
    }
    EXPECT_EQ(placed, 134U);
  }
}

// By messages that skip nearly a whole ring at a time, to the end of what 32 bits count. A grant
// whose message came otherwise lies in the mailbox all the way.
TEST_F(VerbsPlacing, PositionsWrapAndAnOldGrantFitsNoOtherMessage) {
  constexpr Geometry wide{.lanes = 1, .ring_bytes = 64 << 20};
  constexpr std::uint32_t units = wide.ring_bytes / ring_unit_bytes;
  join_both(true, wide);
  ASSERT_TRUE(put(0));
  ASSERT_TRUE(expect_next(0));
  bring(0);
  look_at(0);
  release(0);
  const std::uint32_t first = places_[0].until;
  std::uint32_t until = first;
  const auto jump = [&](std::uint32_t by) {
    until += by;
    const std::byte payload[8] = {};
    const std::span<const std::byte> piece(payload);
    const Parcel parcel{.head = {.bytes = 8}, .offset = 0, .until = until, .pieces = {&piece, 1}};
    ASSERT_TRUE(here().endpoint->put(0, parcel));
    poll_until_arrived(there(), until);
    there().endpoint->release(0, until);
    there().transport->poll();
    here().transport->poll();
  };
  while (until < 0xffff'ffffU - units) {
    jump(units - 1);
    ASSERT_FALSE(HasFailure());
  }
  jump(0xffff'ffffU - until - 100);  // The next one ends behind the wrap.
  const auto send_large = [&](std::uint32_t end, bool is_granted) {
    std::ranges::fill(target(1), std::byte{0xDD});
    ASSERT_TRUE(!is_granted || there().endpoint->expect(0, end, target(1)));
    const std::span<const std::byte> piece = source(0);
    ASSERT_TRUE(here().endpoint->put(
        0, {.head = {.bytes = large}, .offset = 0, .until = end, .pieces = {&piece, 1}}));
    poll_until_arrived(there(), end);
    EXPECT_EQ(there().endpoint->took(0, end), is_granted);
    EXPECT_EQ(std::ranges::equal(target(1), source(0)), is_granted);
    there().endpoint->release(0, end);
    step(here(), there());
  };
  send_large(100, true);
  until = 100;
  send_large(first, false);  // It ends where the one with the old grant did.
}

// Who gives up gets the memory back, whatever the peer still does: it may have found the grant.
TEST_F(VerbsPlacing, WhatIsWithdrawnIsWrittenNoMore) {
  join_both();
  there().endpoint->withdraw();
  ASSERT_TRUE(expect_next(0)) << "nothing was out, so nothing ends";
  ASSERT_TRUE(put(0));
  bring(0);
  look_at(0);
  ASSERT_TRUE(expect_next(1));
  there().endpoint->withdraw();
  ASSERT_TRUE(put(1)) << "nobody told it";
  for (const Deadline deadline(patience); !here().endpoint->broken() && !deadline.passed();) {
    step(here(), there());
  }
  EXPECT_TRUE(is_all(target(1), std::byte{0xDD}));
  EXPECT_TRUE(there().endpoint->broken());
  EXPECT_NE(there().endpoint->failure().find("gave up"), std::string::npos);
}

// Fourteen messages, three under way at a time and four expected ahead, but for one of four. What
// was sent may change, and does.
class VerbsPlacingBroken : public VerbsPlacing {
 protected:
  static constexpr std::size_t messages = 14;

  // Gives how many came in their places.
  std::uint32_t exchange() {
    expected_so_far_ = sent_ = seen_ = 0;
    std::uint32_t placed = 0;
    for (const Deadline deadline(patience); seen_ < messages && !deadline.passed();) {
      send_some();
      step(here(), there());
      for (std::size_t one = 0; one < sent_; ++one) {
        if (is_sent(one)) std::ranges::fill(source(one), std::byte{0xAA});
      }
      if (seen_ == sent_ || !has_arrived(seen_)) continue;
      look_at(seen_);
      placed += took(seen_);
      release(seen_++);
      if (HasFailure()) break;
    }
    EXPECT_EQ(seen_, messages) << here().endpoint->failure() << there().endpoint->failure();
    return placed;
  }

 private:
  void send_some() {
    for (; expected_so_far_ < seen_ + 4; ++expected_so_far_) {
      const bool is_one_of_four = expected_so_far_ % 4 == 3;
      is_one_of_four ? expect_none() : static_cast<void>(expect_next(expected_so_far_));
    }
    if (sent_ < messages && sent_ < seen_ + 3 && put(sent_)) ++sent_;
  }
  bool has_arrived(std::size_t k) {
    return reached(there().endpoint->counters(0).arrived, places_[k].until);
  }

  std::size_t expected_so_far_ = 0, sent_ = 0, seen_ = 0;
};

// Whichever request breaks: grants, payloads and heads are all among them. Every message comes
// once, and what took() says holds.
TEST_F(VerbsPlacingBroken, WhicheverRequestItIsEveryPayloadIsWhereTookSays) {
  std::uint32_t placed = 0;
  for (std::uint32_t number = 0; number < 4 * 49; ++number) {
    const std::uint32_t devices = number % 2 == 0 ? 1 : 3;
    const int is_delivered = number / 2 % 2;
    const std::uint32_t k = number / 4 + 1;
    fake_.set_devices(devices);
    join_both(k % 2 == 0);
    fake_.set_devices(devices);
    fake_.break_request(k, IBV_WC_RETRY_EXC_ERR, is_delivered);
    placed += exchange();
    EXPECT_STREQ(fake_.violation(), "");
    ASSERT_FALSE(HasFailure()) << "request " << k << ", delivered " << is_delivered;
  }
  EXPECT_GT(placed, 1000U) << "of 2744, of which a quarter is not expected";
}

// Grants are out and payloads under way when the receiver's port dies; another device has other
// keys.
TEST_F(VerbsPlacing, GrantsEndWithTheirQueuesAndNewOnesAreOfTheNewPort) {
  fake_.set_devices(3);
  join_both();
  fake_.set_devices(3);
  for (const std::size_t k : {0U, 1U, 2U}) ASSERT_TRUE(expect_next(k));
  ASSERT_TRUE(put(0));
  fake_.set_link(1, 0, 1);
  ASSERT_TRUE(put(1));
  bring(1);
  look_at(0);
  look_at(1);
  EXPECT_TRUE(took(0)) << "what came in its place has come";
  EXPECT_FALSE(took(1)) << "it was sent again, to the ring";
  std::ranges::fill(target(2), std::byte{0xDD});
  ASSERT_TRUE(put(2));
  bring(2);
  look_at(2);
  EXPECT_FALSE(took(2)) << "its grant was of the old queue";
  EXPECT_TRUE(is_all(target(2), std::byte{0xDD}));
  EXPECT_NE(there().endpoint->path().find("fake2"), std::string::npos) << there().endpoint->path();
  ASSERT_TRUE(expect_next(3));
  ASSERT_TRUE(put(3));
  bring(3);
  look_at(3);
  EXPECT_TRUE(took(3));
}

// Until the new queues carry, nothing can be granted; what was put before is sent by the ring.
TEST_F(VerbsPlacing, NothingIsGrantedWhileQueuesAreReplaced) {
  join_both();
  fake_.break_request(1, IBV_WC_RETRY_EXC_ERR, 0);
  EXPECT_TRUE(expect_next(0)) << "its write breaks";
  for (int i = 0; i < 2; ++i) there().transport->poll();
  EXPECT_FALSE(expect_next(1));
  ASSERT_FALSE(there().endpoint->broken());
  while (!put(0)) step(here(), there());
  bring(0);
  look_at(0);
  EXPECT_FALSE(took(0));
}

}  // namespace
}  // namespace accl::test
