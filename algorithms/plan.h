// plan.h - what a collective does, as data. A plan names chunks, never bytes or pointers, so one
// plan serves every message size, can be printed, and is proven before it moves a byte.
//
// An algorithm writes the steps of one position and nothing else (catalog.h), so a rank builds its
// own list alone, however many ranks there are.
//
// What a list means:
//   1. Steps happen in list order. A send is done when its bytes are on their way, a recv when
//      they are there; a receiver that is behind holds at most a window of messages per sender.
//   2. The k-th send from A to B meets the k-th recv at B from A. There are no tags.
//   3. Large data is cut into slices; slice s is piece s of every chunk, and every slice runs the
//      whole list on its own. Slices touch disjoint bytes, so what is proven of one holds for all.
//   4. Chunk c of input and chunk c of output are the same memory when the call is in place. A
//      plan must be right both ways.
//   5. Scratch chunk c is as large as chunk (c % chunks). It lives as long as the slice. Scratch
//      that is received and then read once costs no memory: it is read where it arrived.
#pragma once

#include <cstdint>
#include <vector>

#include "accl/base/ids.h"
#include "accl/base/types.h"

namespace accl {

enum class Buffer : std::uint8_t { input, output, scratch };

// `count` consecutive chunks of one buffer of the position that holds the step.
struct Slice {
  Buffer buffer{};
  std::uint32_t chunk = 0;
  std::uint32_t count = 0;

  friend bool operator==(const Slice&, const Slice&) = default;
};

struct Step {
  enum class Kind : std::uint8_t { copy, reduce, send, recv };

  Kind kind{};
  Slice target{};   // Written by copy, reduce and recv. For send: the slice the peer names.
  Slice source{};   // Read by copy, reduce and send.
  Slice other{};    // reduce: target = source op other.
  Position peer{};  // send, recv.

  friend bool operator==(const Step&, const Step&) = default;
};

// Which exchange of halving-doubling comes first in its reduce-scatter: near is distance 1 (then
// 2, 4, ...), far is distance n/2 (then n/4, ...).
enum class First : std::uint8_t { near, far };

// Everything an algorithm may know besides the position.
struct Shape {
  std::uint32_t size = 1;   // Positions, 1..4096 at least.
  Position root{};          // broadcast, reduce, gather, scatter.
  std::uint32_t width = 1;  // Positions per host, for two-level forms: hosts are [k*width, ...).
  First first = First::near;
};

// The steps of one position, in order.
class StepList {
 public:
  void copy(Slice target, Slice source) {
    steps_.push_back({.kind = Step::Kind::copy, .target = target, .source = source});
  }
  void reduce(Slice target, Slice source, Slice other) {
    steps_.push_back({Step::Kind::reduce, target, source, other, Position{}});
  }
  void send(Slice source, Position peer, Slice at_peer) {
    steps_.push_back({.kind = Step::Kind::send, .target = at_peer, .source = source, .peer = peer});
  }
  void recv(Slice target, Position peer) {
    steps_.push_back({.kind = Step::Kind::recv, .target = target, .peer = peer});
  }

  const std::vector<Step>& steps() const { return steps_; }
  std::vector<Step>& steps() { return steps_; }

 private:
  std::vector<Step> steps_;
};

constexpr Slice input(std::uint32_t chunk, std::uint32_t count = 1) {
  return {Buffer::input, chunk, count};
}
constexpr Slice output(std::uint32_t chunk, std::uint32_t count = 1) {
  return {Buffer::output, chunk, count};
}
constexpr Slice scratch(std::uint32_t chunk, std::uint32_t count = 1) {
  return {Buffer::scratch, chunk, count};
}

}  // namespace accl
