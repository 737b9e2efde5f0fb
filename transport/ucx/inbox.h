// inbox.h - the receiving half of a channel: where messages go, and in which order they count. It
// knows nothing of UCX, which may bring messages of one lane in any order and end them in any other
// order. Nothing a peer sends can make it write elsewhere.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "transport/lazy_memory.h"
#include "transport/ucx/note.h"

namespace accl::ucx {

class Inbox {
 public:
  explicit Inbox(const Geometry& geometry);

  const std::byte* ring(std::uint32_t lane) const;
  const std::atomic<std::uint32_t>& arrived(std::uint32_t lane) const;

  // Writes the head of a message and gives the place of its payload, head.bytes of it; the user's
  // own where one is expected and `in_one_go` says that the payload is here already. Null, and
  // nothing written, for what no peer in its senses sends.
  std::byte* start(const Note& note, bool in_one_go);
  // All of its payload is there. `arrived` moves over it and those behind it that wait for it.
  void finish(const Note& note);

  bool expect(std::uint32_t lane, std::uint32_t until, std::span<std::byte> target);
  bool took(std::uint32_t lane, std::uint32_t until) const;
  // From now on nothing is written into memory of the user.
  void forget_expectations();

 private:
  // A place in user memory where the payload of one coming message shall land.
  struct Expectation {
    enum class State : std::uint8_t { none, waiting, taken };
    State state = State::none;
    std::uint32_t until = 0;
    std::span<std::byte> target;
  };
  static constexpr std::uint32_t max_expectations = most_expected;

  struct alignas(64) Lane {
    std::atomic<std::uint32_t> arrived{0};
    std::uint32_t started = 0;  // Behind the last message, of those that have begun to come.
    std::uint32_t next_expectation = 0;
    std::array<Expectation, max_expectations> expectations{};
  };

  std::byte* claim(Lane& lane, const Note& note);
  std::uint32_t& early(std::uint32_t lane, std::uint32_t position);

  const std::uint32_t ring_bytes_;
  const std::uint32_t ring_units_;
  const std::uint32_t early_units_;  // A power of two, so that positions may wrap around.
  std::unique_ptr<Lane[]> lane_states_;
  std::span<Lane> lanes_;
  LazyMemory memory_;
  // Messages that came before one in front of them: by Note::from, their length in positions.
  // At most a ring is under way, so no two share an entry.
  LazyMemory early_memory_;
  std::span<std::uint32_t> early_;
};

}  // namespace accl::ucx
