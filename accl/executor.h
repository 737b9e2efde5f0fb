// executor.h - runs one rank's program over lanes, slice by slice.
//
// Each slice is run by a fiber: a place in the program, nothing more. Fiber f takes slices f,
// f + width, ... and talks over lane f of every peer, so slices are independent of each other and
// what is proven of one plan run holds for all of them. Within a slice operations happen in order;
// overlap comes from the slices in flight.
//
// Invariants:
//   1. An operation starts when its messages have arrived and every earlier send whose source it
//      overwrites has left (push) or been read (a peer that reads our memory in place).
//   2. Messages are released when their operation is done, in the order they came.
//   3. A slice is finished only when nothing of it is in flight: the caller may reuse its buffers.
//   4. advance() never blocks, and allocates nothing.
//   5. A peer may write to memory of the user from when a message is expected there until it is
//      taken: never before the last operation that uses what lies there is done, and what it sent
//      has left.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "accl/binding.h"
#include "accl/places.h"
#include "accl/straight.h"

namespace accl {

class Executor {
 public:
  Executor();

  void begin(const Binding& binding);
  // The same call once more, with another tag.
  void begin_again(std::uint32_t tag);
  // A small call that has begun; it must stay until another begins.
  void begin(Straight& straight) { straight_ = &straight; }

  // Goes on as far as it can. True if anything moved.
  bool advance() { return straight_ != nullptr ? straight_->advance() : advance_fibers(); }
  bool is_done() const { return straight_ != nullptr ? straight_->is_done() : active_ == 0; }

  // Why advance() does not move: the peer, by number in the program, and whether what it sent is
  // not of this call.
  std::uint32_t blocked_on() const {
    return straight_ != nullptr ? straight_->blocked_on() : blocked_on_;
  }
  bool is_mismatch() const {
    return straight_ != nullptr ? straight_->is_mismatch() : is_mismatch_;
  }

 private:
  // A send that may still read user memory. A peer reads in place only what no later operation
  // writes: so nobody but the end of a slice waits for a peer to have read, and no circle of ranks
  // can wait for each other's reading.
  struct Mark {
    std::uint32_t position = 0;
    bool is_viewed = false;   // The peer reads it in place.
    bool is_pending = false;  // Neither sent nor read, as far as we know.
  };
  enum class Expectation : std::uint8_t { none, refused, accepted };
  // Operations of a fiber that are looked at for messages to expect: the one it is at, and those
  // behind. So a lane is never asked for more than its endpoint remembers.
  static constexpr std::uint32_t most_ahead = most_expected;

  struct Fiber {
    std::uint32_t lane = 0;
    std::uint32_t slice = 0;
    std::uint32_t operation = 0;
    std::uint32_t send = 0;
    std::uint32_t bytes = 0;  // Of the operation's data.
    bool is_active = false;
    bool is_entered = false;   // bytes is known.
    bool is_executed = false;  // Only sends are left of the operation.
    Expectation expectation = Expectation::none;
    std::array<Expectation, most_ahead> ahead{};  // Of operations behind, modulo most_ahead.
    std::vector<Mark> marks;                      // By send of the program.
    std::vector<std::byte> scratch;    // Scratch chunks of the program, largest_piece apart.
    std::vector<std::byte> packing;    // A message in one piece, for push transports.
    const Lane* packed_for = nullptr;  // Who may still read `packing`, and until where.
    std::uint32_t packed_until = 0;
  };

  // Contiguous in all of its operands.
  struct Run {
    std::byte* target = nullptr;
    const std::byte* a = nullptr;
    const std::byte* b = nullptr;
    std::size_t bytes = 0;
  };
  // Payloads of the operation's messages, null where an operand is none.
  struct Inputs {
    const std::byte* a = nullptr;
    const std::byte* b = nullptr;
    bool is_a_viewed = false, is_b_viewed = false;  // In the peer's own memory.
  };
  // Rings that an operation's result is written to as well.
  struct Slots {
    std::array<std::byte*, 4> at;
    std::uint32_t count = 0;
  };

  bool advance_fibers();
  bool advance_fiber(Fiber& fiber);
  bool finish_slice(Fiber& fiber);
  void enter(Fiber& fiber, const Operation& operation);
  bool execute(Fiber& fiber, const Operation& operation);
  bool find_message(Fiber& fiber, const Operand& operand, const std::byte*& payload, bool& viewed);
  bool is_arrived(Fiber& fiber, const Operand& operand);
  bool is_drained(Fiber& fiber, const Operation& operation);
  bool is_left(Fiber& fiber, std::uint32_t send);
  void find_targets();
  bool is_taken(Fiber& fiber, const Operation& operation);
  void expect_direct(Fiber& fiber, const Operation& operation);
  void expect_ahead(Fiber& fiber);
  bool expect(Fiber& fiber, std::uint32_t number);
  std::uint32_t until_of(Fiber& fiber, std::uint32_t number);
  std::uint32_t bytes_of(const Fiber& fiber, const Operation& operation) const {
    return places(fiber).bytes(operation.has_target ? operation.target : operation.a.slice);
  }
  void release(Fiber& fiber, const Operand& operand, bool viewed);
  Slots open_slots(Fiber& fiber, const Operation& operation);
  void compute(Fiber& fiber, const Operation& operation, const Inputs& inputs, const Slots& slots);
  void compute_run(const Operation& operation, const Run& run, const Slots& slots,
                   std::size_t slot_offset);
  void compute_block(const Operation& operation, const Run& block, std::byte* target);

  bool send(Fiber& fiber, const Operation& operation);
  bool send_viewed(Fiber& fiber, Lane& lane, const Slice& source);
  bool send_pull(Fiber& fiber, Lane& lane, const Slice& source);
  bool send_push(Fiber& fiber, Lane& lane, const Slice& source);
  std::span<const std::span<const std::byte>> gather(Fiber& fiber, const Slice& source);
  void pack(Fiber& fiber, const Slice& source, std::byte* to);
  bool is_viewable(Fiber& fiber, std::uint32_t send, const Slice& source);
  bool must_scale(const Slice& slice) const {
    return binding_.scaling.is_on && slice.buffer == Buffer::input;
  }
  bool must_scale(const Operand& operand) const {
    return operand.kind == Operand::Kind::local && must_scale(operand.slice);
  }

  template <class Visit>
  void for_each_run(Fiber& fiber, const Operation& operation, Inputs inputs, Visit&& visit);
  Places places(const Fiber& fiber) const {
    return Places(binding_, fiber.slice, fiber.scratch.data());
  }
  void scale_input(void* target, const void* source, std::size_t bytes) const;
  Lane& lane(Fiber& fiber, std::uint32_t peer) { return binding_.peers[peer]->lanes[fiber.lane]; }
  Head head(const Fiber& fiber, std::uint32_t flags) const {
    return {.tag = binding_.tag, .bytes = fiber.bytes, .flags = flags};
  }
  Store store_of(const Operation& operation) const {
    return operation.is_read_again ? Store::cached : binding_.store;
  }
  bool block(std::uint32_t peer) {
    blocked_on_ = peer;
    return false;
  }

  Straight* straight_ = nullptr;  // What runs, if it is not the binding.
  Binding binding_;
  std::uint32_t slices_ = 0;
  std::uint32_t active_ = 0;  // Fibers with work left.
  bool asks_ahead_ = false;   // There may be messages to expect.
  std::uint32_t blocked_on_ = 0;
  bool is_mismatch_ = false;
  std::array<Fiber, most_lanes> fibers_;
  std::vector<std::span<const std::byte>> pieces_;
  std::unique_ptr<std::byte[]> block_;  // For scaled input.
};

}  // namespace accl
