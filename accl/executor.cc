#include "accl/executor.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "accl/base/assert.h"
#include "accl/runs.h"
#include "accl/scalars.h"

namespace accl {
namespace {

// An operation that writes to several places does so block by block, so that each block is read
// again from the first-level cache.
constexpr std::size_t block_bytes = 8192;

}  // namespace

Executor::Executor() : block_(std::make_unique<std::byte[]>(2 * block_bytes)) {
  for (std::uint32_t i = 0; i < most_lanes; ++i) fibers_[i].lane = i;
  pieces_.reserve(most_pieces);
}

void Executor::begin(const Binding& binding) {
  binding_ = binding;
  slices_ = std::max(binding_.input_layout.slices(), binding_.output_layout.slices());
  const Program& program = *binding.program;
  const std::size_t scratch_bytes =
      program.scratch.size() * binding_.output_layout.largest_piece() * size_of(binding.type);
  for (std::uint32_t i = 0; i < std::min(binding.width, slices_); ++i) {
    Fiber& fiber = fibers_[i];
    if (fiber.marks.size() < program.sends.size()) fiber.marks.resize(program.sends.size());
    if (fiber.scratch.size() < scratch_bytes) fiber.scratch.resize(scratch_bytes);
  }
  find_targets();
  begin_again(binding.tag);
}

void Executor::begin_again(std::uint32_t tag) {
  straight_ = nullptr;
  binding_.tag = tag;
  active_ = std::min(binding_.width, slices_);
  is_mismatch_ = false;
  for (std::uint32_t i = 0; i < active_; ++i) {
    Fiber& fiber = fibers_[i];
    fiber.slice = i;
    fiber.operation = 0;
    fiber.ahead = {};
    fiber.is_active = true;
    fiber.is_entered = fiber.is_executed = false;
  }
}

bool Executor::advance_fibers() {
  bool moved = false;
  is_mismatch_ = false;  // As it looks now: what is late may still come.
  for (std::uint32_t i = 0; i < binding_.width; ++i) {
    if (fibers_[i].is_active) moved |= advance_fiber(fibers_[i]);
  }
  return moved;
}

bool Executor::advance_fiber(Fiber& fiber) {
  const auto& operations = binding_.program->operations;
  bool moved = false;
  while (fiber.is_active) {
    if (fiber.operation == operations.size()) {
      if (!finish_slice(fiber)) return moved;
      moved = true;
      continue;
    }
    const Operation& operation = operations[fiber.operation];
    if (!fiber.is_entered) enter(fiber, operation);
    if (fiber.bytes != 0) {
      if (!fiber.is_executed && !execute(fiber, operation)) return moved;
      if (asks_ahead_) expect_ahead(fiber);
      if (!send(fiber, operation)) return moved;
    }
    ++fiber.operation;
    fiber.is_entered = fiber.is_executed = false;
    moved = true;
  }
  return moved;
}

void Executor::enter(Fiber& fiber, const Operation& operation) {
  fiber.bytes = bytes_of(fiber, operation);
  fiber.is_entered = true;
  fiber.is_executed = !operation.has_target;
  fiber.send = operation.sends_begin;
  const auto asked = std::exchange(fiber.ahead[fiber.operation % most_ahead], Expectation::none);
  fiber.expectation = asked == Expectation::accepted ? asked : Expectation::none;
  for (std::uint32_t i = operation.sends_begin; i < operation.sends_end; ++i) fiber.marks[i] = {};
}

bool Executor::finish_slice(Fiber& fiber) {
  const auto sends = static_cast<std::uint32_t>(binding_.program->sends.size());
  for (std::uint32_t i = 0; i < sends; ++i) {
    if (!is_left(fiber, i)) return block(binding_.program->sends[i]);
  }
  if (binding_.divide_by != 0) {
    places(fiber).for_each_piece(binding_.divided, [&](std::byte* at, std::size_t bytes) {
      divide(at, at, bytes / size_of(binding_.type), binding_.type, binding_.divide_by);
    });
  }
  fiber.slice += binding_.width;
  fiber.operation = 0;
  fiber.is_active = fiber.slice < slices_;
  if (!fiber.is_active) --active_;
  return true;
}

// Whether the memory that send number `send` reads may change.
bool Executor::is_left(Fiber& fiber, std::uint32_t send) {
  Mark& mark = fiber.marks[send];
  if (!mark.is_pending) return true;
  const Lane& to = lane(fiber, binding_.program->sends[send]);
  mark.is_pending = !(mark.is_viewed ? to.is_released(mark.position) : to.is_sent(mark.position));
  return !mark.is_pending;
}

bool Executor::is_drained(Fiber& fiber, const Operation& operation) {
  const Program& program = *binding_.program;
  for (std::uint32_t i = operation.drains_begin; i < operation.drains_end; ++i) {
    const std::uint32_t send = program.drains[i];
    if (!fiber.marks[send].is_viewed && !is_left(fiber, send)) return block(program.sends[send]);
  }
  return true;
}

bool Executor::is_arrived(Fiber& fiber, const Operand& operand) {
  if (operand.kind != Operand::Kind::message) return true;
  const Lane& from = lane(fiber, operand.peer);
  const Head* const head = from.arrived(fiber.bytes);
  if (head == nullptr) {
    is_mismatch_ |= from.has_arrived_otherwise(fiber.bytes);
    return block(operand.peer);
  }
  if (head->tag == binding_.tag && head->bytes == fiber.bytes) return true;
  is_mismatch_ = true;
  return block(operand.peer);
}

// The payload of an operand's message, which has arrived.
bool Executor::find_message(Fiber& fiber, const Operand& operand, const std::byte*& payload,
                            bool& viewed) {
  if (operand.kind != Operand::Kind::message) return true;
  Lane& from = lane(fiber, operand.peer);
  const Head* const head = from.arrived(fiber.bytes);
  payload = Lane::payload(head, fiber.bytes);
  viewed = (head->flags & located_flag) != 0;
  if (!viewed) return true;
  Locator locator;
  std::memcpy(&locator, payload, sizeof locator);
  payload = from.endpoint().view(locator.key, locator.offset, fiber.bytes);
  is_mismatch_ |= payload == nullptr;
  return payload != nullptr ? true : block(operand.peer);
}

bool Executor::execute(Fiber& fiber, const Operation& operation) {
  if (!is_drained(fiber, operation)) return false;
  if (asks_ahead_) {
    expect_direct(fiber, operation);
    expect_ahead(fiber);
  }
  if (!is_arrived(fiber, operation.a) || !is_arrived(fiber, operation.b)) return false;
  Inputs inputs;
  if (!find_message(fiber, operation.a, inputs.a, inputs.is_a_viewed)) return false;
  if (!find_message(fiber, operation.b, inputs.b, inputs.is_b_viewed)) return false;
  if (!is_taken(fiber, operation)) compute(fiber, operation, inputs, open_slots(fiber, operation));
  release(fiber, operation.a, inputs.is_a_viewed);
  release(fiber, operation.b, inputs.is_b_viewed);
  fiber.is_executed = true;
  return true;
}

void Executor::release(Fiber& fiber, const Operand& operand, bool viewed) {
  if (operand.kind != Operand::Kind::message) return;
  lane(fiber, operand.peer).release(fiber.bytes, viewed);
}

// Places in the rings for an operation's sends, if all of them can be had at once; the result is
// then written there while it is in the cache. Otherwise the sends follow on their own.
Executor::Slots Executor::open_slots(Fiber& fiber, const Operation& operation) {
  const std::uint32_t count = operation.sends_end - operation.sends_begin;
  if (count == 0 || count > Slots{}.at.size()) return {};
  for (std::uint32_t i = operation.sends_begin; i < operation.sends_end; ++i) {
    Lane& to = lane(fiber, binding_.program->sends[i]);
    if (!to.is_pull() || is_viewable(fiber, i, operation.target)) return {};
    if (!to.has_room(fiber.bytes)) return {};
  }
  Slots slots;
  for (std::uint32_t i = operation.sends_begin; i < operation.sends_end; ++i) {
    slots.at[slots.count++] = lane(fiber, binding_.program->sends[i]).begin(head(fiber, 0));
  }
  return slots;
}

template <class Visit>
void Executor::for_each_run(Fiber& fiber, const Operation& operation, Inputs inputs,
                            Visit&& visit) {
  const Places at = places(fiber);
  auto is_plain = [&](const Operand& operand) {
    return operand.kind != Operand::Kind::local || at.is_contiguous(operand.slice);
  };
  const bool in_one =
      at.is_contiguous(operation.target) && is_plain(operation.a) && is_plain(operation.b);
  auto source = [&](const Operand& operand, const std::byte* message, std::uint32_t i,
                    std::size_t done) -> const std::byte* {
    if (operand.kind == Operand::Kind::none) return nullptr;
    if (operand.kind == Operand::Kind::message) return message + done;
    return at.address(operand.slice.buffer, operand.slice.chunk + i);
  };
  const Slice& target = operation.target;
  std::size_t done = 0;
  for (std::uint32_t i = 0; i < (in_one ? 1 : target.count); ++i) {
    const Run run{at.address(target.buffer, target.chunk + i),
                  source(operation.a, inputs.a, i, done), source(operation.b, inputs.b, i, done),
                  in_one ? fiber.bytes : at.chunk_bytes(target.buffer, target.chunk + i)};
    if (run.bytes != 0) visit(run);
    done += run.bytes;
  }
}

void Executor::compute(Fiber& fiber, const Operation& operation, const Inputs& inputs,
                       const Slots& slots) {
  std::size_t offset = 0;
  for_each_run(fiber, operation, inputs, [&](const Run& run) {
    compute_run(operation, run, slots, offset);
    offset += run.bytes;
  });
  if (slots.count == 0) return;
  // What is not published now is sent again on its own, from the target.
  while (fiber.send < operation.sends_end &&
         lane(fiber, binding_.program->sends[fiber.send]).publish(head(fiber, 0))) {
    ++fiber.send;
  }
}

void Executor::compute_run(const Operation& operation, const Run& run, const Slots& slots,
                           std::size_t slot_offset) {
  const bool is_scaled = must_scale(operation.a) || must_scale(operation.b);
  const std::size_t step = is_scaled || slots.count > 0 ? block_bytes : run.bytes;
  for (std::size_t at = 0; at < run.bytes; at += step) {
    const std::size_t bytes = std::min(step, run.bytes - at);
    const Run block{run.target + at, run.a + at, run.b != nullptr ? run.b + at : nullptr, bytes};
    if (slots.count == 0) {
      compute_block(operation, block, block.target);
      continue;
    }
    std::byte* const first = slots.at[0] + slot_offset + at;
    compute_block(operation, block, first);
    for (std::uint32_t i = 1; i < slots.count; ++i) {
      copy_bytes(slots.at[i] + slot_offset + at, first, bytes, Store::cached);
    }
    copy_bytes(block.target, first, bytes, store_of(operation));
  }
}

void Executor::compute_block(const Operation& operation, const Run& block, std::byte* target) {
  const std::byte* a = block.a;
  const std::byte* b = block.b;
  if (must_scale(operation.a)) {
    scale_input(block_.get(), a, block.bytes);
    a = block_.get();
  }
  const Store store = target == block.target ? store_of(operation) : Store::cached;
  if (!operation.is_reduce) {
    if (target != a) copy_bytes(target, a, block.bytes, store);
    return;
  }
  if (must_scale(operation.b)) {
    scale_input(block_.get() + block_bytes, b, block.bytes);
    b = block_.get() + block_bytes;
  }
  binding_.kernel(target, a, b, block.bytes / size_of(binding_.type), store);
}

void Executor::scale_input(void* target, const void* source, std::size_t bytes) const {
  const std::size_t count = bytes / size_of(binding_.type);
  const Scaling& scaling = binding_.scaling;
  if (is_floating(binding_.type)) {
    scale(target, source, count, binding_.type, scaling.factor);
  } else {
    scale(target, source, count, binding_.type, scaling.integer_factor);
  }
}

}  // namespace accl
