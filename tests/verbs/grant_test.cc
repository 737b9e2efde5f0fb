// grant_test.cc - grants between a receiver and a sender, without devices: half a grant is none,
// and whatever comes late or is overwritten, a message never gets the place of another.
#include "transport/verbs/grant.h"

#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <random>
#include <vector>

namespace accl::verbs {
namespace {

using Slots = std::array<std::byte, mailbox_bytes>;

Grant grant_of(std::uint32_t number, std::uint32_t until) {
  return sealed({.number = number,
                 .until = until,
                 .address = 0x1'0000'0000ULL + until,
                 .key = 7 + number,
                 .bytes = 1000});
}

void write(Slots& slots, const Grant& grant, std::size_t bytes = sizeof(Grant)) {
  std::memcpy(slots.data() + grant.number % mailbox_slots * sizeof grant, &grant, bytes);
}

TEST(Mailbox, HalfAGrantIsNone) {
  for (std::size_t bytes = 0; bytes < sizeof(Grant); ++bytes) {
    Slots slots;
    Mailbox mailbox;
    mailbox.reset(slots.data());
    for (std::uint32_t n = 1; n <= mailbox_slots; ++n) write(slots, grant_of(n, n));
    ASSERT_FALSE(mailbox.find(100, 1000)) << "all are of messages before";
    const Grant next = grant_of(mailbox_slots + 1, 101);  // Over number 1.
    write(slots, next, bytes);
    EXPECT_FALSE(mailbox.find(101, 1000)) << bytes << " bytes of it came";
    write(slots, next);
    const std::optional<Grant> found = mailbox.find(101, 1000);
    ASSERT_TRUE(found) << "it is found once all is there";
    EXPECT_EQ(found->address, next.address);
    EXPECT_EQ(found->key, next.key);
  }
}

TEST(Mailbox, ItBeginsEmptyWhateverLayThere) {
  Slots slots;
  Mailbox mailbox;
  mailbox.reset(slots.data());
  EXPECT_FALSE(mailbox.find(0, 0));
  write(slots, grant_of(1, 50));
  EXPECT_TRUE(mailbox.find(50, 1000));
  mailbox.reset(slots.data());
  EXPECT_FALSE(mailbox.find(50, 1000));
}

TEST(Mailbox, AGrantIsForItsMessageAlone) {
  Slots slots;
  Mailbox mailbox;
  mailbox.reset(slots.data());
  write(slots, grant_of(1, 50));
  write(slots, grant_of(2, 70));
  EXPECT_FALSE(mailbox.find(40, 1000)) << "one before it";
  EXPECT_FALSE(mailbox.find(50, 999)) << "of another size";
  EXPECT_FALSE(mailbox.find(60, 1000)) << "one between the two";
  EXPECT_TRUE(mailbox.find(70, 1000));
  EXPECT_TRUE(mailbox.find(70, 1000)) << "it was not put yet";
  EXPECT_FALSE(mailbox.find(50, 1000)) << "that was skipped";
}

TEST(Mailbox, ThoseThatWereOverwrittenAreSkipped) {
  Slots slots;
  Mailbox mailbox;
  mailbox.reset(slots.data());
  for (std::uint32_t n = 1; n <= 40; ++n) write(slots, grant_of(n, 10 * n));
  EXPECT_FALSE(mailbox.find(200, 1000)) << "overwritten";
  EXPECT_TRUE(mailbox.find(10 * 30, 1000));
  EXPECT_TRUE(mailbox.find(10 * 40, 1000));
}

TEST(Granted, OnlySoManyAreOut) {
  Granted granted;
  std::vector<std::byte> memory(10);
  for (std::uint32_t i = 0; i < mailbox_slots; ++i) {
    ASSERT_TRUE(granted.has_room() && granted.is_in_order(i + 1)) << i;
    granted.add(i + 1, memory);
  }
  EXPECT_FALSE(granted.has_room());
  EXPECT_FALSE(granted.is_in_order(3));
  EXPECT_TRUE(granted.arrive(1, true));
  granted.forget(0);
  EXPECT_FALSE(granted.has_room()) << "its caller may still ask whether it was taken";
  EXPECT_TRUE(granted.took(1));
  granted.forget(1);
  EXPECT_TRUE(granted.has_room());
}

TEST(Granted, WhatIsRevokedIsNoPlaceAndWhatCameHasCome) {
  Granted granted;
  std::vector<std::byte> memory(10);
  for (const std::uint32_t until : {1U, 2U, 3U}) granted.add(until, memory);
  EXPECT_TRUE(granted.arrive(1, true));
  granted.revoke();
  EXPECT_TRUE(granted.took(1));
  EXPECT_FALSE(granted.arrive(2, true)) << "the sender may not have put it there";
  EXPECT_FALSE(granted.arrive(3, false));
  EXPECT_FALSE(granted.took(2) || granted.took(3));
  EXPECT_EQ(granted.next_number(), 1U);
}

// A receiver and a sender with a wire between them on which grants are late and messages wait for
// room: a payload is placed only where its receiver wants just this one.
TEST(Granted, NoMessageEverGetsThePlaceOfAnother) {
  constexpr std::uint32_t ring_units = 64;
  std::mt19937 random(1);
  Slots slots;
  Mailbox mailbox;
  mailbox.reset(slots.data());
  Granted granted;
  std::vector<std::byte> memory(1 << 16);
  std::deque<Grant> wire;
  std::vector<std::uint32_t> ends;  // Of messages that are on their way, in order.
  std::uint32_t position = 0xffff'f000, freed = position, last_granted = position;
  std::uint32_t placed = 0, not_placed = 0;
  for (std::uint32_t i = 0; i < 200'000; ++i) {
    const std::uint32_t what = random() % 4;
    if (what == 0) {  // The receiver expects one, maybe far ahead, maybe none that will be.
      const std::uint32_t until = last_granted + 1 + random() % 9;
      const bool is_late = static_cast<std::int32_t>(until - position) <= 0;
      granted.forget(freed);
      if (is_late || !granted.has_room() || !granted.is_in_order(until)) {
        last_granted = is_late ? position : last_granted;
        continue;
      }
      wire.push_back(grant_of(granted.next_number(), until));
      granted.add(until, std::span(memory).subspan(until % 60000, 5));
      last_granted = until;
    } else if (what == 1 && !wire.empty()) {
      write(slots, wire.front());
      wire.pop_front();
    } else if (what == 2) {  // The sender puts one, if there is room.
      const std::uint32_t until = position + 1 + random() % 9;
      if (until - freed > ring_units) continue;
      const std::optional<Grant> found = mailbox.find(until, 1000);
      position = until;
      const auto target = granted.arrive(until, found.has_value());
      ASSERT_EQ(target.has_value(), found.has_value()) << "step " << i;
      ++(found ? placed : not_placed);
      if (!found) continue;
      ASSERT_EQ(found->until, until);
      ASSERT_EQ(target->data(), memory.data() + until % 60000);
      ASSERT_TRUE(granted.took(until));
    } else {
      while (!wire.empty() && random() % 2 == 0) {  // What was granted before a release is there.
        write(slots, wire.front());
        wire.pop_front();
      }
      if (wire.empty()) freed = position;
    }
  }
  EXPECT_GT(placed, 500U);
  EXPECT_GT(not_placed, 500U);
  EXPECT_LT(position, 0xffff'f000U) << "positions wrapped";
}

}  // namespace
}  // namespace accl::verbs
