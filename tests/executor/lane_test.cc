// lane_test.cc - the ring bookkeeping alone, against a fake endpoint of plain memory: places never
// overlap what is unread, both ends agree, and a sender is never stuck on untold units.
#include "accl/lane.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>
#include <vector>

#include "transport/loop.h"

namespace accl::testing {
namespace {

class Rings : public ::testing::TestWithParam<std::tuple<std::uint32_t, LoopKind>> {
 protected:
  const std::uint32_t ring_bytes_ = std::get<0>(GetParam());
};

TEST_P(Rings, RandomSizesArriveWholeAndNobodyIsStuck) {
  const Geometry geometry{.lanes = 1, .ring_bytes = ring_bytes_};
  LoopEndpoint endpoint(geometry, std::get<1>(GetParam()));
  Lane lane(endpoint, 0, geometry);
  std::mt19937 random(ring_bytes_);
  struct Sent {
    std::uint32_t bytes;
    std::byte fill;
  };
  std::deque<Sent> under_way;
  auto receive = [&] {
    const Sent next = under_way.front();
    under_way.pop_front();
    const Head* const head = lane.arrived(next.bytes);
    ASSERT_NE(head, nullptr);
    ASSERT_EQ(head->bytes, next.bytes);
    const std::byte* const payload = Lane::payload(head, next.bytes);
    const std::span all(payload, next.bytes);
    ASSERT_TRUE(std::ranges::all_of(all, [&](std::byte got) { return got == next.fill; }));
    lane.release(next.bytes, false);
  };
  const std::uint32_t most = Lane::largest_message(geometry.ring_bytes);
  for (int i = 0; i < 6000; ++i) {
    const std::uint32_t limits[] = {most, 2000, 2000, 2 * tiny_bytes};
    const std::uint32_t limit = std::min(most, limits[random() % 4]);
    const std::uint32_t bytes = random() % (limit + 1);
    while (!lane.has_room(bytes)) {
      // All that was sent has been read: then there must be room, told in bulk or not.
      ASSERT_FALSE(under_way.empty()) << "stuck with " << bytes << " bytes at message " << i;
      receive();
    }
    const auto fill = static_cast<std::byte>(random());
    const Head head{.tag = 1, .bytes = bytes, .flags = 0};
    if (lane.is_pull()) {
      std::memset(lane.begin(head), static_cast<int>(fill), bytes);
      ASSERT_TRUE(lane.publish(head));
    } else {
      const std::vector<std::byte> payload(bytes, fill);
      const std::span<const std::byte> piece(payload);
      ASSERT_TRUE(lane.send(head, {&piece, 1}));
    }
    under_way.push_back({bytes, fill});
    if (random() % 3 == 0 && !under_way.empty()) receive();
  }
  while (!under_way.empty()) receive();
}

INSTANTIATE_TEST_SUITE_P(Sizes, Rings,
                         ::testing::Combine(::testing::Values(65536u, 131072u, 520192u, 1048576u),
                                            ::testing::Values(LoopKind::pull,
                                                              LoopKind::pull_cells_in,
                                                              LoopKind::pull_cells, LoopKind::push,
                                                              LoopKind::push_tells)));

// How many messages are read before the sender is told.
std::uint32_t messages_until_told(LoopKind kind, std::uint32_t ring_bytes, std::uint32_t bytes) {
  const Geometry geometry{.lanes = 1, .ring_bytes = ring_bytes};
  LoopEndpoint endpoint(geometry, kind);
  Lane lane(endpoint, 0, geometry);
  const std::vector<std::byte> payload(bytes);
  const std::span<const std::byte> piece(payload);
  const Head head{.tag = 1, .bytes = bytes, .flags = 0};
  for (std::uint32_t count = 1;; ++count) {
    EXPECT_TRUE(lane.has_room(bytes));
    if (lane.is_pull()) lane.begin(head);
    EXPECT_TRUE(lane.is_pull() ? lane.publish(head) : lane.send(head, {&piece, 1}));
    EXPECT_NE(lane.arrived(bytes), nullptr);
    lane.release(bytes, false);
    if (endpoint.counters(0).released->load() != 0) return count;
  }
}

TEST(Rings, TellInBulkAndOverANetworkInLargerOnes) {
  constexpr std::uint32_t small = 65536, large = 1 << 20;
  constexpr std::uint32_t two_kib = 2048, whole = two_kib + ring_unit_bytes;
  const auto rounds = [](std::uint32_t bulk) { return (bulk + whole - 1) / whole; };
  EXPECT_EQ(messages_until_told(LoopKind::pull, large, two_kib), rounds(small / 4));
  EXPECT_EQ(messages_until_told(LoopKind::push, small, two_kib), rounds(small / 4));
  EXPECT_EQ(messages_until_told(LoopKind::push, large, two_kib), rounds(large / 16));
  EXPECT_EQ(messages_until_told(LoopKind::push, large, 8), Lane::told_late_messages);
}

TEST(Rings, WhatWasReadIsToldByTheNextMessageWhereThatCostsNothing) {
  EXPECT_EQ(messages_until_told(LoopKind::push_tells, 1 << 20, 8), 2U);
}

TEST(Rings, AMessageOfAnotherSizeIsNoticed) {
  const Geometry geometry{.lanes = 1, .ring_bytes = 65536};
  LoopEndpoint endpoint(geometry);
  Lane lane(endpoint, 0, geometry);
  EXPECT_FALSE(lane.has_arrived_otherwise(1000));
  const Head head{.tag = 1, .bytes = 10, .flags = 0};
  ASSERT_TRUE(lane.has_room(10));
  lane.begin(head);
  ASSERT_TRUE(lane.publish(head));
  EXPECT_EQ(lane.arrived(1000), nullptr);
  EXPECT_TRUE(lane.has_arrived_otherwise(1000));
}

TEST(Rings, ACellWhereARingMessageIsDueIsNoticedAndTheOtherWayRound) {
  const Geometry geometry{.lanes = 1, .ring_bytes = 65536};
  for (const std::uint32_t bytes : {10u, 1000u}) {
    LoopEndpoint endpoint(geometry, LoopKind::pull_cells);
    Lane lane(endpoint, 0, geometry);
    const Head head{.tag = 1, .bytes = bytes, .flags = 0};
    ASSERT_TRUE(lane.has_room(bytes));
    lane.begin(head);
    ASSERT_TRUE(lane.publish(head));
    EXPECT_FALSE(lane.has_arrived_otherwise(bytes));
    EXPECT_TRUE(lane.has_arrived_otherwise(bytes == 10 ? 1000 : 2000));
  }
}

TEST(Rings, CellsThatNobodyReadsRunOut) {
  const Geometry geometry{.lanes = 1, .ring_bytes = 65536};
  LoopEndpoint endpoint(geometry, LoopKind::pull_cells);
  Lane lane(endpoint, 0, geometry);
  const Head head{.tag = 1, .bytes = 8, .flags = 0};
  std::uint32_t sent = 0;
  for (; lane.has_room(8) && sent < 1000; ++sent) {
    lane.begin(head);
    ASSERT_TRUE(lane.publish(head));
  }
  EXPECT_EQ(sent, cell_count);
}

}  // namespace
}  // namespace accl::testing
