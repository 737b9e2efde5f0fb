// sending.cc - the executor's half that hands data to lanes: by copy into a ring (pull), in place
// from user memory (push), or by telling the peer where to look (shared user memory).
#include <algorithm>
#include <cstring>

#include "accl/executor.h"
#include "accl/runs.h"
#include "accl/scalars.h"

namespace accl {

bool Executor::send(Fiber& fiber, const Operation& operation) {
  const Slice& source = operation.has_target ? operation.target : operation.a.slice;
  for (; fiber.send < operation.sends_end; ++fiber.send) {
    const std::uint32_t peer = binding_.program->sends[fiber.send];
    Lane& to = lane(fiber, peer);
    if (!to.has_room(fiber.bytes)) return block(peer);
    bool done = false;
    if (is_viewable(fiber, fiber.send, source)) {
      done = send_viewed(fiber, to, source);
    } else {
      done = to.is_pull() ? send_pull(fiber, to, source) : send_push(fiber, to, source);
    }
    if (!done) return block(peer);
  }
  return true;
}

bool Executor::is_viewable(Fiber& fiber, std::uint32_t send, const Slice& source) {
  const bool is_input = source.buffer == Buffer::input;
  const UserBuffer& buffer = is_input ? binding_.input : binding_.output;
  if (!buffer.is_shared || fiber.bytes <= viewed_above_bytes || source.buffer == Buffer::scratch ||
      must_scale(source)) {
    return false;
  }
  if (binding_.program->is_overwritten[send] && (!is_input || binding_.is_in_place)) return false;
  Lane& to = lane(fiber, binding_.program->sends[send]);
  return to.is_pull() && places(fiber).is_contiguous(source) && to.endpoint().is_viewable();
}

bool Executor::send_viewed(Fiber& fiber, Lane& lane, const Slice& source) {
  const UserBuffer& buffer = source.buffer == Buffer::input ? binding_.input : binding_.output;
  const std::byte* const at = places(fiber).address(source.buffer, source.chunk);
  const Locator locator{buffer.key, static_cast<std::uint64_t>(at - buffer.region)};
  const Head message = head(fiber, located_flag);
  std::memcpy(lane.begin(message), &locator, sizeof locator);
  if (!lane.publish(message)) return false;
  fiber.marks[fiber.send] = {lane.out_position(), true, true};
  return true;
}

bool Executor::send_pull(Fiber& fiber, Lane& lane, const Slice& source) {
  const Head message = head(fiber, 0);
  pack(fiber, source, lane.begin(message));
  return lane.publish(message);
}

bool Executor::send_push(Fiber& fiber, Lane& lane, const Slice& source) {
  // One packed message at a time: the last one must have left before the buffer changes.
  if (fiber.packed_for != nullptr && !fiber.packed_for->is_sent(fiber.packed_until)) return false;
  fiber.packed_for = nullptr;
  const auto pieces = gather(fiber, source);
  const bool is_packed = pieces.size() == 1 && pieces[0].data() == fiber.packing.data();
  if (!lane.send(head(fiber, 0), pieces)) return false;
  fiber.marks[fiber.send] = {lane.out_position(), false, true};
  if (is_packed) {
    fiber.packed_for = &lane;
    fiber.packed_until = lane.out_position();
  }
  return true;
}

// The message as runs of memory that stay as they are until it has left.
std::span<const std::span<const std::byte>> Executor::gather(Fiber& fiber, const Slice& source) {
  pieces_.clear();
  bool must_pack = must_scale(source);
  if (!must_pack) {
    places(fiber).for_each_piece(source, [&](const std::byte* at, std::size_t bytes) {
      const bool joins = !pieces_.empty() && pieces_.back().data() + pieces_.back().size() == at;
      if (joins) {
        pieces_.back() = {pieces_.back().data(), pieces_.back().size() + bytes};
      } else if (pieces_.size() < most_pieces) {
        pieces_.emplace_back(at, bytes);
      } else {
        must_pack = true;
      }
    });
  }
  if (must_pack) {
    if (fiber.packing.size() < fiber.bytes) fiber.packing.resize(fiber.bytes);
    pack(fiber, source, fiber.packing.data());
    pieces_.assign(1, {fiber.packing.data(), fiber.bytes});
  }
  return pieces_;
}

void Executor::pack(Fiber& fiber, const Slice& source, std::byte* to) {
  places(fiber).for_each_piece(source, [&](const std::byte* at, std::size_t bytes) {
    if (must_scale(source)) {
      scale_input(to, at, bytes);
    } else {
      copy_bytes(to, at, bytes, Store::cached);
    }
    to += bytes;
  });
}

}  // namespace accl
