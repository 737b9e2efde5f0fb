// expecting.cc - the executor's half that lets messages arrive in their places: those that only
// have to be put there, from when nothing else uses the place.
//
// Nobody but this rank decides whether a place is free: what lies there is dead from the last
// operation that reads, writes or sends it until the one that overwrites it, so a message may come
// at any time in between. A peer that is as fast would be asked too late at that operation itself.
// That asking earlier helps follows from the plans: a final value is made from contributions of all
// ranks, so a peer has it to send only after ours left us, by this lane or through others; where
// nobody contributes (broadcast, allgather, alltoall) nothing uses the place before.
#include <algorithm>

#include "accl/executor.h"
#include "accl/runs.h"

namespace accl {

// Small calls do not pay for what never comes true.
void Executor::find_targets() {
  asks_ahead_ = false;
  const std::size_t element = size_of(binding_.type);
  const std::size_t largest = binding_.output_layout.largest_piece() * element;
  if (largest * binding_.program->largest < direct_bytes) return;
  for (const Operation& operation : binding_.program->operations) {
    const bool may_ask = operation.free_from != Operation::never;
    asks_ahead_ |= may_ask && !binding_.peers[operation.a.peer]->lanes[0].is_pull();
  }
}

bool Executor::is_taken(Fiber& fiber, const Operation& operation) {
  if (fiber.expectation != Expectation::accepted) return false;
  Lane& from = lane(fiber, operation.a.peer);
  return from.endpoint().took(fiber.lane, from.in_until(fiber.bytes));
}

// For the operation that the fiber is at, once.
void Executor::expect_direct(Fiber& fiber, const Operation& operation) {
  if (fiber.expectation != Expectation::none) return;
  fiber.expectation = Expectation::refused;
  if (operation.free_from == Operation::never) return;
  if (expect(fiber, fiber.operation)) fiber.expectation = Expectation::accepted;
}

// For those behind, each once its place is free; those of one peer in their order.
void Executor::expect_ahead(Fiber& fiber) {
  const auto& operations = binding_.program->operations;
  const std::size_t end =
      std::min<std::size_t>(operations.size(), std::size_t{fiber.operation} + most_ahead);
  std::uint64_t waiting = 0;  // Peers, modulo 64, of whom one before cannot be asked for yet.
  for (std::uint32_t i = fiber.operation + 1; i < end; ++i) {
    const Operation& operation = operations[i];
    Expectation& expectation = fiber.ahead[i % most_ahead];
    if (operation.free_from == Operation::never || expectation != Expectation::none) continue;
    const std::uint64_t peer = std::uint64_t{1} << operation.a.peer % 64;
    const bool is_free = operation.free_from <= fiber.operation && is_drained(fiber, operation);
    if (!is_free || (waiting & peer) != 0) {
      waiting |= peer;
      continue;
    }
    expectation = expect(fiber, i) ? Expectation::accepted : Expectation::refused;
  }
}

bool Executor::expect(Fiber& fiber, std::uint32_t number) {
  const Operation& operation = binding_.program->operations[number];
  Lane& from = lane(fiber, operation.a.peer);
  const std::uint32_t bytes = bytes_of(fiber, operation);
  const bool is_in_one = places(fiber).is_contiguous(operation.target);
  if (from.is_pull() || bytes < direct_bytes || !is_in_one) return false;
  std::byte* const at = places(fiber).address(operation.target.buffer, operation.target.chunk);
  return from.endpoint().expect(fiber.lane, until_of(fiber, number), {at, bytes});
}

// The position behind the message that an operation waits for: those of the operations before it
// come first, as far as they were not taken yet.
std::uint32_t Executor::until_of(Fiber& fiber, std::uint32_t number) {
  const auto& operations = binding_.program->operations;
  const std::uint32_t peer = operations[number].a.peer;
  const Lane& from = lane(fiber, peer);
  RingCursor at = from.in();
  for (std::uint32_t i = fiber.operation + fiber.is_executed; i <= number; ++i) {
    for (const Operand& operand : {operations[i].a, operations[i].b}) {
      if (operand.kind != Operand::Kind::message || operand.peer != peer) continue;
      const std::uint32_t bytes = bytes_of(fiber, operations[i]);
      if (bytes != 0) at = from.after(at, bytes);
    }
  }
  return at.position;
}

}  // namespace accl
