#include "accl/straight.h"

#include <algorithm>
#include <cstring>

#include "accl/base/mix.h"
#include "accl/places.h"
#include "accl/routes.h"

namespace accl {
namespace {

constexpr std::size_t most_steps = 256;

std::uintptr_t address_of(const void* memory) { return reinterpret_cast<std::uintptr_t>(memory); }

bool uses(const Operation& operation, Buffer buffer) {
  const auto reads = [&](const Operand& operand) {
    return operand.kind == Operand::Kind::local && operand.slice.buffer == buffer;
  };
  return reads(operation.a) || reads(operation.b) ||
         (operation.has_target && operation.target.buffer == buffer);
}

// What can be seen without looking at operations.
bool may_fit(const Call& call, const Binding& binding) {
  return call.collective != Collective::alltoallv && !binding.scaling.is_on &&
         binding.divide_by == 0 && binding.program->operations.size() <= most_steps &&
         std::max(binding.input_layout.slices(), binding.output_layout.slices()) == 1;
}

}  // namespace

std::unique_ptr<Straight> Straight::make(const Call& call, Route& route, const Binding& binding,
                                         std::uint64_t shape) {
  if (!may_fit(call, binding)) return nullptr;
  std::unique_ptr<Straight> straight(new Straight(call, route, shape));
  return straight->flatten(binding) ? std::move(straight) : nullptr;
}

bool Straight::flatten(const Binding& binding) {
  const Program& program = *binding.program;
  kernel_ = binding.kernel;
  scratch_.resize(program.scratch.size() * binding.output_layout.largest_piece() *
                  size_of(binding.type));
  bases_ = {address_of(call_.send), address_of(call_.recv), address_of(scratch_.data())};
  const auto any_uses = [&](Buffer buffer) {
    return call_.collective != Collective::barrier &&  // It brings its own.
           std::ranges::any_of(program.operations,
                               [&](const Operation& operation) { return uses(operation, buffer); });
  };
  needs_send_ = any_uses(Buffer::input);
  needs_recv_ = any_uses(Buffer::output);
  return std::ranges::all_of(program.operations,
                             [&](const Operation& operation) { return add(binding, operation); });
}

// False where the operation does not fit.
bool Straight::add(const Binding& binding, const Operation& operation) {
  const Places places(binding, 0, scratch_.data());
  const Slice& whole = operation.has_target ? operation.target : operation.a.slice;
  const auto is_plain = [&](const Operand& operand) {
    return operand.kind != Operand::Kind::local || places.is_contiguous(operand.slice);
  };
  const std::uint32_t bytes = places.bytes(whole);
  if (bytes == 0) return true;
  if (bytes > straight_bytes || !places.is_contiguous(whole) || !is_plain(operation.a) ||
      !is_plain(operation.b)) {
    return false;
  }
  Step step{.has_target = operation.has_target,
            .is_reduce = operation.is_reduce,
            .bytes = bytes,
            .count = bytes / static_cast<std::uint32_t>(size_of(binding.type)),
            .buffer = static_cast<std::uint32_t>(whole.buffer),
            .offset = offset_of(binding, whole),
            .a = source(binding, operation.a),
            .b = source(binding, operation.b),
            .sends_begin = static_cast<std::uint32_t>(sends_.size())};
  for (std::uint32_t i = operation.sends_begin; i < operation.sends_end; ++i) {
    const std::uint32_t peer = binding.program->sends[i];
    sends_.push_back({&binding.peers[peer]->lanes[0], peer});
  }
  step.sends_end = static_cast<std::uint32_t>(sends_.size());
  steps_.push_back(step);
  return true;
}

Straight::Source Straight::source(const Binding& binding, const Operand& operand) const {
  if (operand.kind == Operand::Kind::none) return {};
  if (operand.kind == Operand::Kind::message) {
    return {.lane = &binding.peers[operand.peer]->lanes[0], .peer = operand.peer};
  }
  return {.buffer = static_cast<std::uint32_t>(operand.slice.buffer),
          .offset = offset_of(binding, operand.slice)};
}

std::size_t Straight::offset_of(const Binding& binding, const Slice& slice) const {
  const std::byte* const at =
      Places(binding, 0, scratch_.data()).address(slice.buffer, slice.chunk);
  return reinterpret_cast<std::uintptr_t>(at) - bases_[static_cast<std::size_t>(slice.buffer)];
}

bool Straight::is_of(const Call& call) const {
  const bool has_buffers =
      (!needs_send_ || call.send != nullptr) && (!needs_recv_ || call.recv != nullptr);
  return has_buffers && call.count == call_.count && call.collective == call_.collective &&
         call.type == call_.type && call.op == call_.op && call.root == call_.root &&
         call.to == call_.to && call.from == call_.from && call.recv_count == call_.recv_count;
}

void Straight::begin(const void* send, void* recv, std::uint32_t tag) {
  // What is not the user's (a barrier's bytes) stays where it was when the line was made.
  if (needs_send_) bases_[static_cast<std::size_t>(Buffer::input)] = address_of(send);
  if (needs_recv_) bases_[static_cast<std::size_t>(Buffer::output)] = address_of(recv);
  tag_ = tag;
  at_ = 0;
  is_computed_ = is_mismatch_ = false;
}

bool Straight::advance() {
  bool moved = false;
  for (; at_ != steps_.size(); ++at_) {
    const Step& step = steps_[at_];
    if (!is_computed_) {
      if (step.has_target && !compute(step)) return moved;
      is_computed_ = moved = true;
      next_send_ = step.sends_begin;
    }
    if (!send(step)) return moved;
    is_computed_ = false;
  }
  return true;
}

// Where an operand lies; false where its message has not come, or is not of this call.
bool Straight::find(const Step& step, const Source& source, const std::byte*& data) {
  if (source.lane == nullptr) {
    data = at(source.buffer, source.offset);
    return true;
  }
  const Head* const head = source.lane->arrived(step.bytes);
  if (head != nullptr && head->tag == tag_ && head->bytes == step.bytes) [[likely]] {
    data = Lane::payload(head, step.bytes);
    return true;
  }
  is_mismatch_ = head != nullptr || source.lane->has_arrived_otherwise(step.bytes);
  blocked_on_ = source.peer;
  return false;
}

bool Straight::compute(const Step& step) {
  const std::byte* a = nullptr;
  const std::byte* b = nullptr;
  if (!find(step, step.a, a)) return false;
  if (step.is_reduce && !find(step, step.b, b)) return false;
  std::byte* const target = at(step.buffer, step.offset);
  if (step.is_reduce) {
    kernel_(target, a, b, step.count, Store::cached);
  } else if (target != a) {
    std::memcpy(target, a, step.bytes);
  }
  if (step.a.lane != nullptr) step.a.lane->release(step.bytes, false);
  if (step.b.lane != nullptr) step.b.lane->release(step.bytes, false);
  return true;
}

// A transport that pushes may still read from where we send. Small messages leave at once, but for
// a peer that is behind, so that is waited for here, and no later step needs to look.
bool Straight::send(const Step& step) {
  for (; next_send_ != step.sends_end; ++next_send_) {
    const Send& to = sends_[next_send_];
    blocked_on_ = to.peer;
    if (!put(step, *to.lane)) return false;
  }
  for (std::uint32_t i = step.sends_begin; i != step.sends_end; ++i) {
    const Lane& to = *sends_[i].lane;
    blocked_on_ = sends_[i].peer;
    if (!to.is_pull() && !to.is_sent(to.out_position())) return false;
  }
  return true;
}

bool Straight::put(const Step& step, Lane& to) {
  if (!to.has_room(step.bytes)) return false;
  const Head head{.tag = tag_, .bytes = step.bytes, .flags = 0};
  const std::span<const std::byte> data(at(step.buffer, step.offset), step.bytes);
  if (!to.is_pull()) return to.send(head, {&data, 1});
  std::memcpy(to.begin(head), data.data(), data.size());
  return to.publish(head);
}

std::size_t Straights::place_of(const Call& call) {
  const std::uint64_t small = static_cast<std::uint64_t>(call.collective) |
                              static_cast<std::uint64_t>(call.type) << 8 |
                              static_cast<std::uint64_t>(call.op) << 16 |
                              static_cast<std::uint64_t>(index(call.root)) << 24;
  const auto peers =
      static_cast<std::uint64_t>(call.to) << 32 ^ static_cast<std::uint64_t>(call.from);
  return mix(mix(small ^ peers) + (call.count ^ call.recv_count << 32)) % places;
}

Straight* Straights::add(const Call& call, std::unique_ptr<Straight> straight) {
  auto& place = known_[place_of(call)];
  place = std::move(straight);
  return place.get();
}

}  // namespace accl
