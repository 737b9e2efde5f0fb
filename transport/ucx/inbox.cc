#include "transport/ucx/inbox.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "accl/base/assert.h"

namespace accl::ucx {
namespace {

// Whether a is behind b on the circle of positions.
bool is_before(std::uint32_t a, std::uint32_t b) { return static_cast<std::int32_t>(a - b) < 0; }

}  // namespace

Inbox::Inbox(const Geometry& geometry)
    : ring_bytes_(geometry.ring_bytes),
      ring_units_(geometry.ring_bytes / ring_unit_bytes),
      early_units_(std::bit_ceil(ring_units_)),
      lane_states_(std::make_unique<Lane[]>(geometry.lanes)),
      lanes_(lane_states_.get(), geometry.lanes),
      memory_(std::size_t{geometry.lanes} * ring_bytes_),
      early_memory_(std::size_t{geometry.lanes} * early_units_ * sizeof(std::uint32_t)),
      early_(reinterpret_cast<std::uint32_t*>(early_memory_.bytes().data()),
             std::size_t{geometry.lanes} * early_units_) {}

const std::byte* Inbox::ring(std::uint32_t lane) const {
  ACCL_ASSERT(lane < lanes_.size(), lane);
  return memory_.bytes().data() + std::size_t{lane} * ring_bytes_;
}

const std::atomic<std::uint32_t>& Inbox::arrived(std::uint32_t lane) const {
  ACCL_ASSERT(lane < lanes_.size(), lane);
  return lanes_[lane].arrived;
}

std::uint32_t& Inbox::early(std::uint32_t lane, std::uint32_t position) {
  return early_[std::size_t{lane} * early_units_ + position % early_units_];
}

std::byte* Inbox::start(const Note& note, bool in_one_go) {
  if (note.lane >= lanes_.size()) return nullptr;
  Lane& lane = lanes_[note.lane];
  const std::uint32_t bytes = note.head.bytes;
  const std::uint32_t ahead = note.until - lane.arrived.load(std::memory_order_relaxed);
  const std::uint32_t length = note.until - note.from;
  const bool fits = note.offset % ring_unit_bytes == 0 &&
                    std::uint64_t{note.offset} + payload_offset(bytes) + bytes <= ring_bytes_;
  const bool is_next = length >= message_units(bytes) && length <= ahead;
  // Not yet released is at most a ring, and what has arrived and is not released is part of that.
  if (!fits || !is_next || ahead > ring_units_) return nullptr;
  if (is_before(lane.started, note.until)) lane.started = note.until;
  std::byte* const message =
      memory_.bytes().data() + std::size_t{note.lane} * ring_bytes_ + note.offset;
  std::memcpy(message, &note.head, sizeof note.head);
  std::byte* const elsewhere = in_one_go ? claim(lane, note) : nullptr;
  return elsewhere != nullptr ? elsewhere : message + payload_offset(bytes);
}

void Inbox::finish(const Note& note) {
  std::atomic<std::uint32_t>& arrived = lanes_[note.lane].arrived;
  std::uint32_t position = arrived.load(std::memory_order_relaxed);
  early(note.lane, note.from) = note.until - note.from;
  if (note.from != position) return;
  for (;;) {
    std::uint32_t& length = early(note.lane, position);
    if (length == 0) break;
    position += length;
    length = 0;
  }
  arrived.store(position, std::memory_order_release);
}

// The target expected for this message, or null. A target of another size is left alone.
std::byte* Inbox::claim(Lane& lane, const Note& note) {
  for (Expectation& expectation : lane.expectations) {
    const bool hit = expectation.state == Expectation::State::waiting &&
                     expectation.until == note.until &&
                     expectation.target.size() == note.head.bytes;
    if (!hit) continue;
    expectation.state = Expectation::State::taken;
    return expectation.target.data();
  }
  return nullptr;
}

bool Inbox::expect(std::uint32_t lane, std::uint32_t until, std::span<std::byte> target) {
  ACCL_ASSERT(lane < lanes_.size(), lane);
  Lane& state = lanes_[lane];
  if (!is_before(state.started, until) || target.empty()) return false;
  Expectation& slot = state.expectations[state.next_expectation % max_expectations];
  // As many as we can remember wait, but for one whose message came in a way that it could not use.
  const bool is_passed = !is_before(state.started, slot.until);
  if (slot.state == Expectation::State::waiting && !is_passed) return false;
  slot = {Expectation::State::waiting, until, target};
  ++state.next_expectation;
  return true;
}

bool Inbox::took(std::uint32_t lane, std::uint32_t until) const {
  ACCL_ASSERT(lane < lanes_.size(), lane);
  return std::ranges::any_of(lanes_[lane].expectations, [&](const Expectation& expectation) {
    return expectation.state == Expectation::State::taken && expectation.until == until;
  });
}

void Inbox::forget_expectations() {
  for (Lane& lane : lanes_) {
    for (Expectation& expectation : lane.expectations) {
      if (expectation.state == Expectation::State::waiting) expectation = {};
    }
  }
}

}  // namespace accl::ucx
