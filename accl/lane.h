// lane.h - one lane of an endpoint as the executor sees it: messages in order, both ways, and whose
// place in the rings is whose. Both ends compute places from sizes alone, so nothing but positions
// travels.
//
// Invariants, in ring units, all modulo 2^32:
//   1. released <= out_position, and a new message starts only if its end - released <= ring units.
//   2. A message is contiguous. Where it would reach past its limit, it starts at the ring's begin
//      instead, and the units skipped count as used. The limit is three messages of its size (and
//      at least near_bytes_), so that large messages keep to a part of the ring that stays in
//      cache.
//   3. What the receiver has read but not yet told is less than a quarter of near_bytes_, which is
//      at most the ring, and a message is at most 3/8 of the ring. Who skips to the begin is
//      further behind it than the message and those units together, as limit and sizes have it; so
//      a sender never waits on untold units, and no packet need be spent on telling fewer. Fewer
//      than told_late_messages are untold: a transport may have no more of them under way.
//   4. Tiny messages go by cell where the transport has cells, and use no units. Of the cells fewer
//      than told_late_cells are read and untold.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstring>
#include <optional>
#include <span>

#include "accl/base/assert.h"
#include "transport/transport.h"

namespace accl {

// Where the next message of a direction lies.
struct RingCursor {
  std::uint32_t position = 0;  // Units used so far.
  std::uint32_t offset = 0;    // Bytes into the ring.
};

class Lane {
 public:
  static constexpr std::uint32_t told_late_messages = 128;

  Lane() = default;
  Lane(Endpoint& endpoint, std::uint32_t lane, const Geometry& geometry)
      : endpoint_(&endpoint),
        lane_(lane),
        ring_bytes_(geometry.ring_bytes),
        outbox_(endpoint.outbox(lane)),
        inbox_(endpoint.inbox(lane)),
        near_bytes_(near_bytes(is_pull(), ring_bytes_)),
        tells_along_(endpoint.tells_along()),
        counters_(endpoint.counters(lane)),
        cells_(endpoint.cells(lane)) {}

  static std::uint32_t largest_message(std::uint32_t ring_bytes) {
    return ring_bytes / 8 * 3 - ring_unit_bytes;
  }

  Endpoint& endpoint() { return *endpoint_; }
  bool is_pull() const { return outbox_ != nullptr; }

  // --- Sending ---------------------------------------------------------------------------------

  // Whether there is a place for a message of this many payload bytes now.
  bool has_room(std::uint32_t bytes) {
    if (goes_by_cell(bytes)) return has_free_cell();
    const RingCursor end = after(out_, bytes);
    if (end.position - known_released_ <= ring_units()) return true;
    known_released_ = counters_.released->load(std::memory_order_acquire);
    return end.position - known_released_ <= ring_units();
  }

  // Pull, after has_room: writes the head and gives the place of the payload. publish() follows;
  // while it gives false the message may be written again and published later.
  std::byte* begin(const Head& head) {
    if (goes_by_cell(head.bytes)) {
      Cell& cell = cells_.out[(out_cell_ + 1) % cell_count];
      cell.head.tag = head.tag;
      cell.head.bytes = head.bytes;
      cell.head.flags = head.flags;
      return cell.payload.data();
    }
    std::byte* const at = outbox_ + start(out_, head.bytes).offset;
    std::memcpy(at, &head, sizeof head);
    return at + payload_offset(head.bytes);
  }
  [[nodiscard]] bool publish(const Head& head) {
    if (goes_by_cell(head.bytes)) {
      ++out_cell_;
      std::atomic_ref stamp(cells_.out[out_cell_ % cell_count].head.stamp);
      stamp.store(out_cell_, std::memory_order_release);
      endpoint_->changed_cell();
      return true;
    }
    const std::uint32_t offset = start(out_, head.bytes).offset;
    const RingCursor end = after(out_, head.bytes);
    if (!endpoint_->put(lane_, Parcel{head, offset, end.position, {}})) return false;
    out_ = end;
    return true;
  }

  // Push, after has_room: false while the transport's queue is full.
  bool send(const Head& head, std::span<const std::span<const std::byte>> pieces) {
    const RingCursor end = after(out_, head.bytes);
    const Parcel parcel{.head = head,
                        .offset = start(out_, head.bytes).offset,
                        .until = end.position,
                        .pieces = pieces,
                        .freed = tells_along_ ? std::optional(in_.position) : std::nullopt};
    if (!endpoint_->put(lane_, parcel)) return false;
    out_ = end;
    if (tells_along_) note_told();
    return true;
  }

  // Whether user memory given to messages up to `position` may change again: the transport has
  // taken it (`sent`), or, where the peer reads it in place, the peer is done (`released`).
  std::uint32_t out_position() const { return out_.position; }
  bool is_sent(std::uint32_t position) const { return reached(*counters_.sent, position); }
  bool is_released(std::uint32_t position) const { return reached(*counters_.released, position); }

  // --- Receiving -------------------------------------------------------------------------------

  // The head of the next message if it has arrived whole, else null. Both ends know its size.
  const Head* arrived(std::uint32_t bytes) const {
    // In this order: whatever went by the ring after our cell cannot hide it.
    const bool by_ring = reached(*counters_.arrived, after(in_, bytes).position);
    if (bytes <= tiny_bytes && is_cell_here()) return &next_cell().head;
    if (!by_ring) return nullptr;
    return reinterpret_cast<const Head*>(inbox_ + start(in_, bytes).offset);
  }
  // The peer published a message of another size than this: it is not in our call.
  bool has_arrived_otherwise(std::uint32_t bytes) const {
    const bool something = reached(*counters_.arrived, in_.position + 1) || is_cell_here();
    return something && arrived(bytes) == nullptr;  // In this order: the counters only grow.
  }
  static const std::byte* payload(const Head* head, std::uint32_t bytes) {
    return reinterpret_cast<const std::byte*>(head) + payload_offset(bytes);
  }
  std::uint32_t in_until(std::uint32_t bytes) const { return after(in_, bytes).position; }

  // Where messages after the next one will end.
  RingCursor in() const { return in_; }
  RingCursor after(RingCursor at, std::uint32_t bytes) const {
    const std::uint32_t whole = whole_bytes(bytes);
    const RingCursor from = start(at, bytes);
    return {from.position + whole / ring_unit_bytes, from.offset + whole};
  }

  // Done with the message. The peer is told in bulk, or by a message that goes there anyway;
  // `at_once` where it waits for just this.
  void release(std::uint32_t bytes, bool at_once) {
    if (bytes <= tiny_bytes && is_cell_here()) {
      ++in_cell_;
      if (in_cell_ - told_cells_ >= told_late_cells) tell_cells();
      return;
    }
    in_ = after(in_, bytes);
    const bool is_late = ++untold_messages_ == told_late_messages ||
                         (in_.position - told_) * ring_unit_bytes >= near_bytes_ / 4;
    if (!at_once && !is_late) return;
    note_told();
    endpoint_->release(lane_, told_);
  }

 private:
  static constexpr std::uint32_t told_late_cells = cell_count / 4;
  // Of a small ring all. Shared memory is read from one core's cache by another; what a device or
  // the kernel carries goes through memory anyway, and each telling costs it a packet.
  static constexpr std::uint32_t least_near_bytes = 65536;

  static std::uint32_t near_bytes(bool is_pull, std::uint32_t ring_bytes) {
    return std::min(ring_bytes, std::max(least_near_bytes, is_pull ? 0 : ring_bytes / 4));
  }
  static bool reached(const std::atomic<std::uint32_t>& counter, std::uint32_t position) {
    return static_cast<std::int32_t>(counter.load(std::memory_order_acquire) - position) >= 0;
  }

  bool goes_by_cell(std::uint32_t bytes) const {
    return bytes <= tiny_bytes && cells_.out != nullptr;
  }
  bool has_free_cell() {
    if (out_cell_ - known_freed_ < cell_count) return true;
    known_freed_ = cells_.freed->load(std::memory_order_acquire);
    return out_cell_ - known_freed_ < cell_count;
  }
  const Cell& next_cell() const { return cells_.in[(in_cell_ + 1) % cell_count]; }
  bool is_cell_here() const {
    if (cells_.in == nullptr) return false;
    auto& stamp = const_cast<std::uint32_t&>(next_cell().head.stamp);  // Atomics want it so.
    return std::atomic_ref(stamp).load(std::memory_order_acquire) == in_cell_ + 1;
  }
  void note_told() {
    untold_messages_ = 0;
    told_ = in_.position;
  }
  void tell_cells() {
    told_cells_ = in_cell_;
    cells_.read->store(in_cell_, std::memory_order_release);
    endpoint_->changed_cell();
  }

  std::uint32_t ring_units() const { return ring_bytes_ / ring_unit_bytes; }
  static std::uint32_t whole_bytes(std::uint32_t bytes) {
    return message_units(bytes) * ring_unit_bytes;
  }
  RingCursor start(RingCursor at, std::uint32_t bytes) const {
    const std::uint32_t whole = whole_bytes(bytes);
    const std::uint32_t limit = std::min(ring_bytes_, std::max(3 * whole, near_bytes_));
    if (at.offset + whole <= limit) return at;
    return {at.position + (ring_bytes_ - at.offset) / ring_unit_bytes, 0};
  }

  Endpoint* endpoint_ = nullptr;
  std::uint32_t lane_ = 0;
  std::uint32_t ring_bytes_ = 0;
  std::byte* outbox_ = nullptr;
  const std::byte* inbox_ = nullptr;
  std::uint32_t near_bytes_ = least_near_bytes;
  bool tells_along_ = false;
  LaneCounters counters_;
  Cells cells_;
  std::uint32_t out_cell_ = 0;  // Sent by cell; the stamp of the last.
  std::uint32_t known_freed_ = 0;
  std::uint32_t in_cell_ = 0;  // Read of those that came by cell.
  std::uint32_t told_cells_ = 0;
  RingCursor out_, in_;
  std::uint32_t known_released_ = 0;
  std::uint32_t told_ = 0;
  std::uint32_t untold_messages_ = 0;
};

}  // namespace accl
