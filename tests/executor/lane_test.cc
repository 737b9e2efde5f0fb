// lane_test.cc - the ring bookkeeping alone, against a fake endpoint of plain memory: places never
// overlap what is unread, both ends agree, and a sender is never stuck on untold units.
#include "accl/lane.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>

namespace accl::testing {
namespace {

// Both ends of one lane: what is put is there at once.
class LoopEndpoint final : public Endpoint {
 public:
  explicit LoopEndpoint(std::uint32_t ring_bytes) : ring_(ring_bytes) {}
  void finish(const Deadline&) override {}
  LaneCounters counters(std::uint32_t) const override { return {&arrived_, &released_, &arrived_}; }
  std::byte* outbox(std::uint32_t) override { return ring_.data(); }
  const std::byte* inbox(std::uint32_t) const override { return ring_.data(); }
  bool put(std::uint32_t, const Parcel& parcel) override {
    arrived_ = parcel.until;
    return true;
  }
  void release(std::uint32_t, std::uint32_t position) override { released_ = position; }
  bool expect(std::uint32_t, std::uint32_t, std::span<std::byte>) override { return false; }
  bool took(std::uint32_t, std::uint32_t) const override { return false; }
  const std::byte* view(const RegionKey&, std::uint64_t, std::uint64_t) override { return nullptr; }
  std::string failure() const override { return {}; }
  bool broken() const override { return false; }

 private:
  std::vector<std::byte> ring_;
  std::atomic<std::uint32_t> arrived_{0}, released_{0};
};

class Rings : public ::testing::TestWithParam<std::uint32_t> {};

TEST_P(Rings, RandomSizesArriveWholeAndNobodyIsStuck) {
  const Geometry geometry{.lanes = 1, .ring_bytes = GetParam()};
  LoopEndpoint endpoint(geometry.ring_bytes);
  Lane lane(endpoint, 0, geometry);
  std::mt19937 random(GetParam());
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
    for (std::uint32_t i = 0; i < next.bytes; ++i) ASSERT_EQ(payload[i], next.fill);
    lane.release(next.bytes, false);
  };
  const std::uint32_t most = Lane::largest_message(geometry.ring_bytes);
  for (int i = 0; i < 20000; ++i) {
    const std::uint32_t limit = random() % 4 == 0 ? most : std::min(most, 2000u);
    const std::uint32_t bytes = random() % (limit + 1);
    while (!lane.has_room(bytes)) {
      // All that was sent has been read: then there must be room, told in bulk or not.
      ASSERT_FALSE(under_way.empty()) << "stuck with " << bytes << " bytes at message " << i;
      receive();
    }
    const auto fill = static_cast<std::byte>(random());
    const Head head{.tag = 1, .bytes = bytes, .flags = 0, .reserved = 0};
    std::memset(lane.begin(head), static_cast<int>(fill), bytes);
    ASSERT_TRUE(lane.publish(head));
    under_way.push_back({bytes, fill});
    if (random() % 3 == 0 && !under_way.empty()) receive();
  }
  while (!under_way.empty()) receive();
}

INSTANTIATE_TEST_SUITE_P(Sizes, Rings, ::testing::Values(65536u, 131072u, 520192u, 1048576u));

TEST(Rings, AMessageOfAnotherSizeIsNoticed) {
  const Geometry geometry{.lanes = 1, .ring_bytes = 65536};
  LoopEndpoint endpoint(geometry.ring_bytes);
  Lane lane(endpoint, 0, geometry);
  EXPECT_FALSE(lane.has_arrived_otherwise(1000));
  const Head head{.tag = 1, .bytes = 10, .flags = 0, .reserved = 0};
  ASSERT_TRUE(lane.has_room(10));
  lane.begin(head);
  ASSERT_TRUE(lane.publish(head));
  EXPECT_EQ(lane.arrived(1000), nullptr);
  EXPECT_TRUE(lane.has_arrived_otherwise(1000));
}

}  // namespace
}  // namespace accl::testing
