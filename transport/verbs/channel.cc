// channel.cc - messages and releases, in both directions, once a channel is joined.
#include "transport/verbs/channel.h"

#include <arpa/inet.h>

#include <bit>
#include <cstring>
#include <functional>
#include <system_error>

#include "accl/base/assert.h"

namespace accl::verbs {
namespace {

constexpr int completions_at_once = 16;
constexpr int rounds_per_poll = 8;  // So that one busy peer does not keep the others waiting.

// A tiny message is written without the stamp, which means nothing in a ring: in what a device or a
// kernel gives a packet of its size, four bytes can be the ones too many. Others keep whole lines.
constexpr std::uint32_t unsaid_bytes = offsetof(Head, tag);
static_assert(unsaid_bytes == sizeof(Head::stamp));

bool is_ahead(std::uint32_t position, std::uint32_t of) {
  return static_cast<std::int32_t>(position - of) > 0;
}

}  // namespace

LaneCounters Channel::counters(std::uint32_t lane) const {
  ACCL_ASSERT(lane < lanes_.size(), lane);
  return {&lanes_[lane].arrived, &lanes_[lane].released, &lanes_[lane].sent};
}

const std::byte* Channel::inbox(std::uint32_t lane) const {
  ACCL_ASSERT(lane < lanes_.size(), lane);
  return memory_.bytes().data() + lanes_[lane].ring_at;
}

std::byte* Channel::outbox(std::uint32_t lane) {
  const std::size_t inboxes = std::size_t{geometry_.lanes} * geometry_.ring_bytes;
  return memory_.bytes().data() + inboxes + lanes_[lane].ring_at;
}

// The peer posts a receive again before it releases what used it, so it always has one for us.
bool Channel::has_window(Lane& lane) {
  const std::uint32_t released = lane.released.load(std::memory_order_relaxed);
  while (lane.window_first != lane.window_next &&
         !is_ahead(lane.at(lane.window_first).until, released)) {
    ++lane.window_first;
  }
  const bool is_lent = static_cast<std::int32_t>(lane.window_lent - lane.window_first) < 0;
  const std::uint32_t oldest = is_lent ? lane.window_lent : lane.window_first;
  return lane.window_next - oldest < message_window;
}

// False, and the channel ends, where the memory of a GPU cannot be read.
bool Channel::copy(std::byte* to, std::span<const std::byte> piece) {
  if (registry_ == nullptr) {
    std::memcpy(to, piece.data(), piece.size());
    return true;
  }
  const cuda::Result result = registry_->copy_to_host(to, piece);
  if (result == cuda::no_error) return true;
  begin_end(fmt::format("memory of a GPU cannot be copied: {}", registry_->words(result)));
  return false;
}

// Gives how many bytes the write has; 0: none can be made.
std::uint32_t Channel::pack(std::uint32_t lane, const Parcel& parcel) {
  std::byte* const message = outbox(lane) + parcel.offset;
  std::memcpy(message, &parcel.head, sizeof parcel.head);
  std::byte* at = message + payload_offset(parcel.head.bytes);
  for (const auto piece : parcel.pieces) {
    if (piece.empty()) continue;
    if (!copy(at, piece)) return 0;
    at += piece.size();
  }
  const auto bytes = static_cast<std::uint32_t>(at - message);
  ACCL_ASSERT(bytes == payload_offset(parcel.head.bytes) + parcel.head.bytes, bytes,
              parcel.head.bytes);
  return bytes;
}

// Null: the lane's device does not know all of it, or may not read it.
const ibv_mr* Channel::device_memory(const Lane& lane, std::span<const std::byte> bytes) {
  const Registration* const known = registry_ != nullptr ? registry_->find(bytes) : nullptr;
  if (known == nullptr) return nullptr;
  const bool may_read =
      known->gpu() == nullptr || rails_[lane.rail].port().settings().gpu.reads_in_place;
  return may_read ? known->on(lane.rail) : nullptr;
}

bool Channel::is_lendable(const Lane& lane, const Parcel& parcel) {
  return parcel.head.bytes >= least_lent_bytes && parcel.pieces.size() == 1 &&
         device_memory(lane, parcel.pieces[0]) != nullptr;
}

// Of `memory_`.
ibv_sge Channel::own_bytes(const Lane& lane, const std::byte* at, std::uint32_t bytes) const {
  return {.addr = reinterpret_cast<std::uint64_t>(at), .length = bytes, .lkey = lane.memory_key};
}

// Of a message that is lent or placed.
ibv_sge Channel::payload_of(Lane& lane, const Sent& message) {
  const auto number = static_cast<std::uint32_t>(&lane - lanes_.data());
  if (message.lent.empty()) {
    const std::byte* const at = outbox(number) + message.offset + large_payload_offset;
    return own_bytes(lane, at, message.bytes - large_payload_offset);
  }
  const ibv_mr* const memory = device_memory(lane, message.lent);
  ACCL_ASSERT(memory != nullptr, number);
  return {.addr = reinterpret_cast<std::uint64_t>(message.lent.data()),
          .length = static_cast<std::uint32_t>(message.lent.size()),
          .lkey = memory->lkey};
}

// A payload that is placed goes first: the queue keeps their order, so who hears of the head has
// it.
int Channel::post(Lane& lane, Sent& message) {
  const auto number = static_cast<std::uint32_t>(&lane - lanes_.data());
  const bool is_apart = message.is_placed || !message.lent.empty();
  const std::uint32_t bytes = is_apart ? large_payload_offset : message.bytes;
  std::array<ibv_sge, most_gathered> from;
  const bool is_tiny = !is_apart && bytes <= sizeof(Head) + tiny_bytes;
  const std::uint32_t unsaid = is_tiny ? unsaid_bytes : 0;
  from[0] = own_bytes(lane, outbox(number) + message.offset + unsaid, bytes - unsaid);
  if (is_apart) from[1] = payload_of(lane, message);
  const bool is_gathered = is_apart && !message.is_placed;
  const bool is_inline = !is_gathered && from[0].length <= lane.queue->longest_inline();
  const std::array<Queue::Write, most_writes> writes{
      {{.to = message.place, .key = message.key, .from = {&from[1], 1}},
       {.to = lane.peer_inbox + message.offset + unsaid,
        .key = lane.peer_key,
        .immediate = immediates_.pack({message.until, lane.freed, message.is_placed}),
        .from = {from.data(), is_gathered ? 2U : 1U},
        .is_inline = is_inline,
        .is_signalled = is_apart}}};
  const int error = lane.queue->post(std::span(writes).subspan(message.is_placed ? 0 : 1));
  message.number = lane.queue->posted();
  if (error == 0 && tells_along()) note_told(number);
  return error;
}

bool Channel::put(std::uint32_t lane, const Parcel& parcel) {
  ACCL_ASSERT(lane < lanes_.size() && parcel.pieces.size() <= max_pieces, lane,
              parcel.pieces.size());
  Lane& to = lanes_[lane];
  if (!is_open()) return false;
  Sent message{.until = parcel.until, .offset = parcel.offset};
  if (to.mailbox.has_news()) find_place(to, parcel, message);
  const std::uint32_t requests = 1U + message.is_placed;
  if (to.window_again != to.window_next || !to.queue->has_room(requests)) return false;
  if (!has_window(to)) return false;
  if (is_lendable(to, parcel)) {
    std::memcpy(outbox(lane) + parcel.offset, &parcel.head, sizeof parcel.head);
    message.bytes = large_payload_offset;
    message.lent = parcel.pieces[0];
    ACCL_ASSERT(message.lent.size() == parcel.head.bytes, message.lent.size(), parcel.head.bytes);
  } else {
    message.bytes = pack(lane, parcel);
  }
  if (message.bytes == 0) return false;
  to.freed = parcel.freed.value_or(to.freed);
  const int error = post(to, message);
  if (error != 0) {
    note_post(lane, error);
    return false;
  }
  to.at(to.window_next) = message;
  to.window_again = ++to.window_next;
  to.put_until = parcel.until;
  take_back(to);
  return true;
}

// What was copied may change, and what was lent and acknowledged. That the peer released it is not
// enough: the acknowledgement may be lost, and then the device reads the memory again.
void Channel::take_back(Lane& lane) {
  for (; lane.window_lent != lane.window_next; ++lane.window_lent) {
    Sent& message = lane.at(lane.window_lent);
    if (!message.lent.empty()) {
      if (!lane.queue || !lane.queue->is_retired(message.number)) return;
      message.lent = {};
      message.is_gone = true;
    }
    lane.sent.store(message.until, std::memory_order_release);
  }
}

void Channel::give_back(std::span<const std::byte> memory) {
  const std::less<const std::byte*> is_before;
  for (std::uint32_t i = 0; i < lanes_.size(); ++i) {
    Lane& lane = lanes_[i];
    const std::uint32_t released = lane.released.load(std::memory_order_relaxed);
    for (std::uint32_t k = lane.window_lent; k != lane.window_next; ++k) {
      Sent& message = lane.at(k);
      const bool meets = is_before(message.lent.data(), memory.data() + memory.size()) &&
                         is_before(memory.data(), message.lent.data() + message.lent.size());
      if (!meets) continue;
      if (is_ahead(message.until, released)) take_home(i, message);
      message.lent = {};  // A released one arrived, and its place may be another's.
    }
  }
}

void Channel::note_post(std::uint32_t lane, int error) {
  if (error == 0) return;
  lose_path(fmt::format("{} takes no requests: {}", port_of(lane).text(),
                        std::generic_category().message(error)));
}

void Channel::release(std::uint32_t lane, std::uint32_t position) {
  ACCL_ASSERT(lane < lanes_.size(), lane);
  lanes_[lane].freed = position;
  dirty_ |= std::uint64_t{1} << lane;
}

void Channel::note_told(std::uint32_t lane) {
  lanes_[lane].told = lanes_[lane].freed;
  dirty_ &= ~(std::uint64_t{1} << lane);
}

void Channel::tell_releases() {
  if (!is_open()) return;
  for (std::uint64_t left = dirty_; left != 0; left &= left - 1) {
    tell_release(static_cast<std::uint32_t>(std::countr_zero(left)), false);
  }
}

// A full queue tells later: it has completions to come.
void Channel::tell_release(std::uint32_t number, bool is_signalled) {
  Lane& lane = lanes_[number];
  if (!lane.queue->has_room(1)) return;
  const bool is_known = lane.told == lane.freed;
  note_told(number);
  if (is_known && !is_signalled) return;
  note_post(number, lane.queue->post({.immediate = lane.freed, .is_signalled = is_signalled}));
}

bool Channel::poll() {
  bool moved = false;
  for (const auto& footing : footings_) {
    if (footing && footing->lanes > 0) moved = poll(footing->completions) || moved;
  }
  if (restart_ && !broken_) step_restart(moved);
  if (move_ || wants_move_) moved = step_move() || moved;
  if (is_behind_ && !move_) post_again();
  if (dirty_ != 0) tell_releases();
  if (ending_since_ && !broken_) conclude();
  return moved;
}

bool Channel::poll(Completions& completions) {
  std::array<ibv_wc, completions_at_once> done;
  int count = completions_at_once;
  bool moved = false;
  for (int i = 0; i < rounds_per_poll && count == completions_at_once; ++i) {
    count = ::ibv_poll_cq(completions.queue.get(), completions_at_once, done.data());
    for (int k = 0; k < count; ++k) take(done[static_cast<std::size_t>(k)]);
    moved = moved || count > 0;
  }
  if (count < 0) lose_path("its completion queue is broken");
  return moved;
}

void Channel::take_message(Lane& lane, const Saying& saying) {
  const std::uint32_t units = geometry_.ring_bytes / ring_unit_bytes;
  if (lane.is_shut) return;
  const bool fits = saying.until - lane.freed <= units;
  if (!fits) begin_end("it sent more than the ring holds");
  lane.is_shut = !fits || !take_payload(lane, saying.until, saying.is_placed);
  if (lane.is_shut) return;
  take_word(lane, saying.freed);
  lane.arrived.store(saying.until, std::memory_order_release);
}

void Channel::take_word(Lane& lane, std::uint32_t position) {
  const std::uint32_t known = lane.released.load(std::memory_order_relaxed);
  if (!is_ahead(position, known)) return;
  if (position - known > lane.put_until - known) {
    return begin_end("it released more than was sent");
  }
  lane.released.store(position, std::memory_order_release);
}

bool Channel::arm() {
  if (dirty_ != 0) tell_releases();
  for (const auto& footing : footings_) {
    if (!footing || footing->lanes == 0 || footing->completions.is_armed) continue;
    Completions& completions = footing->completions;
    completions.is_armed = ::ibv_req_notify_cq(completions.queue.get(), 0) == 0;
    if (!completions.is_armed) lose_path("its completion queue cannot wake us");
  }
  const bool is_busy = move_ || (restart_ && restart_->is_busy());
  return !is_ending() && !is_busy;  // Time alone moves these on.
}

void Channel::take(const ibv_wc& done) {
  const Ticket ticket = Ticket::unpack(done.wr_id);
  ACCL_ASSERT(ticket.lane < lanes_.size(), ticket.lane);
  Lane& lane = lanes_[ticket.lane];
  if (ticket.generation != lane.generation) return;  // Of a queue that was replaced.
  if (ticket.is_last) {
    (ticket.is_receive ? lane.has_last_receive : lane.has_last_send) = true;
    return;
  }
  if (done.status != IBV_WC_SUCCESS) return fail_request(ticket, done);
  has_moved_ = true;
  if (!ticket.is_receive) {
    if (!lane.queue) return;
    lane.queue->retire(ticket.number);
    if (lane.window_lent != lane.window_next && !restart_) take_back(lane);
    return;
  }
  const std::uint32_t value = ntohl(done.imm_data);
  if (done.opcode == IBV_WC_RECV_RDMA_WITH_IMM) {
    take_message(lane, immediates_.unpack(value, lane.arrived.load(std::memory_order_relaxed),
                                          lane.released.load(std::memory_order_relaxed)));
  } else {
    take_word(lane, value);
  }
  const bool is_stopped = !lane.queue || (restart_ && restart_->phase == Restart::Phase::draining);
  if (!is_stopped) note_post(ticket.lane, lane.queue->took_receive());
}

}  // namespace accl::verbs
