// expecting_test.cc - when the executor asks for messages in their places: not before the place is
// free, each of a peer after those before it, and what came there is not copied.
#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "accl/executor.h"
#include "transport/transport.h"

namespace accl::testing {
namespace {

constexpr Geometry geometry{.lanes = most_lanes, .ring_bytes = 64 << 10};
constexpr std::uint32_t bytes = 8192;  // Of a chunk.
constexpr std::uint32_t units = message_units(bytes);

struct Asked {
  std::uint32_t until = 0;
  std::byte* target = nullptr;
  bool operator==(const Asked&) const = default;
};

// One peer of a push transport, of whose lane 0 a test decides what comes and what has left.
class TestEndpoint final : public Endpoint {
 public:
  void finish(const Deadline&) override {}
  LaneCounters counters(std::uint32_t) const override { return {&arrived_, &released_, &sent_}; }
  std::byte* outbox(std::uint32_t) override { return nullptr; }
  const std::byte* inbox(std::uint32_t) const override { return inbox_.data(); }
  bool put(std::uint32_t, const Parcel& parcel) override {
    put_until_ = parcel.until;
    return true;
  }
  void release(std::uint32_t, std::uint32_t position) override { freed = position; }
  bool expect(std::uint32_t, std::uint32_t until, std::span<std::byte> target) override {
    EXPECT_EQ(target.size(), bytes);
    asked.push_back({until, target.data()});
    return true;
  }
  bool took(std::uint32_t, std::uint32_t until) const override { return takes && until != 0; }
  const std::byte* view(const RegionKey&, std::uint64_t, std::uint64_t) override { return nullptr; }
  std::string failure() const override { return {}; }
  bool broken() const override { return false; }

  // The next message comes.
  void bring(std::byte value) {
    std::byte* const message = inbox_.data() + brought_++ * (units * ring_unit_bytes);
    const Head head{.tag = 9, .bytes = bytes};
    std::memcpy(message, &head, sizeof head);
    std::memset(message + payload_offset(bytes), static_cast<int>(value), bytes);
    arrived_ = brought_ * units;
  }
  void acknowledge() { sent_ = put_until_; }

  std::vector<Asked> asked;
  std::uint32_t freed = 0;
  bool takes = true;

 private:
  std::vector<std::byte> inbox_ = std::vector<std::byte>(geometry.ring_bytes);
  std::atomic<std::uint32_t> arrived_{0}, released_{0}, sent_{0};
  std::uint32_t put_until_ = 0, brought_ = 0;
};

class Expecting : public ::testing::Test {
 protected:
  // In place, one slice.
  void begin(const StepList& list, std::uint32_t chunks) {
    program_ = lower(list.steps(), chunks);
    memory_.assign(std::size_t{chunks} * bytes, std::byte{1});
    for (const Position peer : program_.peers) {
      PeerLanes& lanes = lanes_[index(peer)];
      for (std::uint32_t i = 0; i < most_lanes; ++i) {
        lanes.lanes[i] = Lane(peers_[index(peer)], i, geometry);
      }
      order_.push_back(&lanes);
    }
    Binding binding;
    binding.program = &program_;
    binding.peers = order_;
    binding.input_layout = binding.output_layout = Layout::whole(memory_.size(), chunks, bytes);
    binding.input.base = binding.output.base = memory_.data();
    binding.is_in_place = true;
    binding.type = DataType::uint8;
    binding.kernel = reduce_kernel(DataType::uint8, ReduceOp::sum);
    binding.tag = 9;
    executor_.begin(binding);
    executor_.advance();
  }
  TestEndpoint& peer(std::uint32_t number) { return peers_[number]; }
  std::byte* chunk(std::uint32_t number) { return memory_.data() + std::size_t{number} * bytes; }

  std::map<std::uint32_t, TestEndpoint> peers_;
  std::map<std::uint32_t, PeerLanes> lanes_;
  std::vector<PeerLanes*> order_;
  Program program_;
  std::vector<std::byte> memory_;
  Executor executor_;
};

constexpr Position p1{1}, p2{2}, p3{3};
using List = std::vector<Asked>;

TEST_F(Expecting, APlaceIsFreeWhenWhatItHeldHasLeft) {
  StepList list;
  list.send(input(0), p1, output(0));
  list.recv(scratch(0), p3);  // Holds the call up.
  list.reduce(output(3), input(3), scratch(0));
  list.recv(output(0), p2);
  list.recv(output(1), p2);
  list.recv(output(2), p3);
  begin(list, 4);
  EXPECT_EQ(peer(2).asked, List{}) << "the first is still being sent, and the second is behind it";
  EXPECT_EQ(peer(3).asked, (List{{2 * units, chunk(2)}})) << "behind the one that is reduced";
  peer(1).acknowledge();
  executor_.advance();
  EXPECT_EQ(peer(2).asked, (List{{units, chunk(0)}, {2 * units, chunk(1)}}));
  executor_.advance();
  EXPECT_EQ(peer(2).asked.size(), 2U) << "each is asked for once";
  EXPECT_EQ(peer(3).asked.size(), 1U);
}

TEST_F(Expecting, APlaceIsFreeWhenWhatItHeldWasRead) {
  StepList list;
  list.recv(scratch(0), p1);
  list.reduce(output(1), output(0), scratch(0));
  list.recv(output(0), p2);
  list.recv(output(1), p3);
  begin(list, 2);
  EXPECT_EQ(peer(2).asked, List{});
  EXPECT_EQ(peer(3).asked, List{});
  peer(1).bring(std::byte{4});
  executor_.advance();
  EXPECT_EQ(memory_[bytes], std::byte{5});
  EXPECT_EQ(peer(2).asked, (List{{units, chunk(0)}}));
  EXPECT_EQ(peer(3).asked, (List{{units, chunk(1)}}));
}

TEST_F(Expecting, WhatCameInItsPlaceStaysAndWhatDidNotIsCopied) {
  for (const bool takes : {true, false}) {
    StepList list;
    list.recv(output(0), p1);
    list.recv(output(1), p1);
    peers_.clear();
    order_.clear();
    peer(1).takes = takes;
    begin(list, 2);
    ASSERT_EQ(peer(1).asked, (List{{units, chunk(0)}, {2 * units, chunk(1)}}));
    std::memset(chunk(1), 7, bytes);
    peer(1).bring(std::byte{2});
    peer(1).bring(std::byte{3});
    while (!executor_.is_done()) executor_.advance();
    EXPECT_EQ(*chunk(0), takes ? std::byte{1} : std::byte{2});
    EXPECT_EQ(*chunk(1), takes ? std::byte{7} : std::byte{3});
    EXPECT_EQ(peer(1).freed, 2 * units);
  }
}

// As many as an endpoint remembers, and no more until the first of them came.
TEST_F(Expecting, NoMoreIsAskedForThanAnEndpointRemembers) {
  StepList list;
  for (std::uint32_t i = 0; i < 20; ++i) list.recv(output(i), p1);
  begin(list, 20);
  EXPECT_EQ(peer(1).asked.size(), most_expected);
  peer(1).bring(std::byte{2});
  executor_.advance();
  EXPECT_EQ(peer(1).asked.size(), most_expected + 1);
}

}  // namespace
}  // namespace accl::testing
