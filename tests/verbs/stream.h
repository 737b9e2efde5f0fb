// stream.h - messages of many sizes, both ways on every lane of a connection over the fake
// libibverbs, each looked at when it arrives: none is lost, none comes twice, none is changed.
#pragma once

#include <cstring>
#include <optional>
#include <vector>

#include "tests/verbs/over_fake.h"

namespace accl::test {

// Messages of many sizes on one lane, looked at when they arrive, and released.
class Stream {
 public:
  Stream(const Joined& from, const Joined& to, std::uint32_t lane)
      : from_(*from.endpoint), to_(*to.endpoint), lane_(lane) {}

  // What came by `back`, the other way on this lane, is told along.
  void put_some(const Stream* back = nullptr) {
    for (; sent_ < count_; ++sent_) {
      const std::uint32_t bytes = bytes_of(sent_);
      const Place place = out_.next(bytes);
      const std::uint32_t released = from_.counters(lane_).released->load();
      if (place.until - released > out_.units()) return;
      const std::vector<std::byte> payload(bytes, pattern_of(sent_));
      const std::span<const std::byte> piece(payload);
      if (!from_.put(lane_, {.head = {.tag = sent_, .bytes = bytes},
                             .offset = place.offset,
                             .until = place.until,
                             .pieces = {&piece, 1},
                             .freed = back ? std::optional(back->in_.position()) : std::nullopt})) {
        return;
      }
      out_.take(bytes);
    }
  }

  void take_some() {
    const std::uint32_t arrived = to_.counters(lane_).arrived->load();
    ASSERT_GE(static_cast<std::int32_t>(arrived - seen_), 0) << "a message came twice";
    seen_ = arrived;
    for (; taken_ < count_; ++taken_) {
      const std::uint32_t bytes = bytes_of(taken_);
      const Place place = in_.next(bytes);
      if (static_cast<std::int32_t>(arrived - place.until) < 0) break;
      const std::byte* const message = to_.inbox(lane_) + place.offset;
      Head head;
      std::memcpy(&head, message, sizeof head);
      ASSERT_EQ(head.tag, taken_);
      ASSERT_EQ(head.bytes, bytes);
      for (std::uint32_t i = 0; i < bytes; ++i) {
        ASSERT_EQ(message[payload_offset(bytes) + i], pattern_of(taken_))
            << "of message " << taken_;
      }
      in_.take(bytes);
    }
    if (taken_ < told_ + 3 && taken_ < count_) return;  // Not each by itself.
    told_ = taken_;
    to_.release(lane_, in_.position());
  }

  bool is_over() const {
    return taken_ == count_ && reached(from_.counters(lane_).released, out_.position());
  }
  std::uint32_t taken() const { return taken_; }
  void go_on() { count_ += 60; }

 private:
  static std::uint32_t bytes_of(std::uint32_t k) { return k % 4 == 3 ? 9000 : k * 37 % 300; }
  static std::byte pattern_of(std::uint32_t k) { return static_cast<std::byte>(k + 1); }

  Endpoint& from_;
  Endpoint& to_;
  const std::uint32_t lane_;
  Ring out_{geometry.ring_bytes}, in_{geometry.ring_bytes};
  std::uint32_t count_ = 60, sent_ = 0, taken_ = 0, told_ = 0, seen_ = 0;
};

class VerbsExchange : public VerbsFake {
 protected:
  // Both ways on both lanes, until all is over or a connection ends, whose words these are.
  // `meanwhile` is called in each round with how many messages arrived so far; there are more of
  // them as long as `wants_more` says so.
  template <class Meanwhile, class More>
  static std::string exchange(const Joined& here, const Joined& there, Meanwhile meanwhile,
                              More wants_more) {
    std::vector<Stream> streams;
    for (std::uint32_t lane = 0; lane < geometry.lanes; ++lane) {
      streams.emplace_back(here, there, lane);
      streams.emplace_back(there, here, lane);
    }
    const auto words = [&] { return here.endpoint->failure() + there.endpoint->failure(); };
    for (const Deadline deadline(patience); words().empty() && !HasFatalFailure();) {
      bool is_over = true;
      std::uint32_t taken = 0;
      for (std::size_t i = 0; i < streams.size(); ++i) {
        Stream& stream = streams[i];
        stream.put_some(&streams[i ^ 1]);
        poll(here);
        poll(there);
        stream.take_some();
        is_over = is_over && stream.is_over();
        taken += stream.taken();
      }
      step(here, there);
      if (is_over && !wants_more()) return {};
      for (Stream& stream : streams) {
        if (is_over) stream.go_on();
      }
      if (deadline.passed()) return "it hangs";
      meanwhile(taken);
    }
    return words();
  }
  template <class Meanwhile>
  static std::string exchange(const Joined& here, const Joined& there, Meanwhile meanwhile) {
    return exchange(here, there, meanwhile, [] { return false; });
  }
  static std::string exchange(const Joined& here, const Joined& there) {
    return exchange(here, there, [](std::uint32_t) {});
  }

 private:
  static std::uint64_t told(const Joined& end) {
    std::uint64_t sum = 0;
    for (std::uint32_t lane = 0; lane < geometry.lanes; ++lane) {
      const LaneCounters counters = end.endpoint->counters(lane);
      sum += counters.arrived->load() + counters.released->load() + counters.sent->load();
    }
    return sum;
  }
  static void poll(const Joined& end) {
    const std::uint64_t before = told(end);
    const bool has_news = end.transport->poll();
    EXPECT_TRUE(has_news || told(end) == before) << "poll() says that nothing came";
  }
};

}  // namespace accl::test
