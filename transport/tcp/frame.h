// frame.h - what the tcp transport writes to a socket. Once, each way: a Greeting. Then frames:
// a data frame (28 bytes, then head.bytes of payload) or a release frame (8 bytes).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "transport/greeting.h"
#include "transport/transport.h"

namespace accl::tcp {

constexpr std::uint64_t greeting_magic = 0x4143'434C'7463'7021;  // "ACCLtcp!"

// Values that stray payload hardly holds: a stream out of step is found at the next header.
enum class FrameKind : std::uint16_t { data = 0xDA7A, release = 0x5E1F };

// Both kinds of frame begin so.
struct FrameStart {
  FrameKind kind = FrameKind::release;
  std::uint16_t lane = 0;
  std::uint32_t position = 0;  // Data: until. Release: what is free.
};
static_assert(sizeof(FrameStart) == 8);

struct DataFrame {
  FrameStart start{};
  std::uint32_t offset = 0;
  Head head{};
};
static_assert(sizeof(DataFrame) == 28);

// A place in user memory where the payload of one coming message shall land.
struct Expectation {
  enum class State : std::uint8_t { none, waiting, taken };
  State state = State::none;
  std::uint32_t until = 0;
  std::span<std::byte> target;
};
constexpr std::uint32_t max_expectations = most_expected;  // Per lane.

// One lane of an endpoint, shared by its sending and its receiving half. The counters are the
// LaneCounters of transport.h; the rest belongs to the driving thread.
struct alignas(64) LaneState {
  std::atomic<std::uint32_t> arrived{0};
  std::atomic<std::uint32_t> released{0};
  std::atomic<std::uint32_t> sent{0};
  std::uint32_t put_until = 0;  // Of the last message put: the peer can release no more.
  std::uint32_t started = 0;    // Of the last message whose header was read.
  std::uint32_t freed = 0;      // Our own last release.
  std::uint32_t next_expectation = 0;
  std::array<Expectation, max_expectations> expectations{};
};

}  // namespace accl::tcp
