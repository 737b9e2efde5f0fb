// channel.cc - messages and releases, in both directions, once a channel is joined.
#include "transport/ucx/channel.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "accl/base/assert.h"
#include "accl/base/log.h"

namespace accl::ucx {
namespace {

// UCX keeps what it cannot send in memory of its own, without limit. A caller that only puts, and
// does not let it be driven by poll(), is sent away after so much payload.
constexpr std::uint32_t most_bytes_per_poll = 512 << 10;

constexpr unsigned note_id = 0;

}  // namespace

LaneCounters Channel::counters(std::uint32_t lane) const {
  ACCL_ASSERT(lane < lanes_.size(), lane);
  return {&inbox_.arrived(lane), &lanes_[lane].released, &lanes_[lane].sent};
}

bool Channel::put(std::uint32_t lane, const Parcel& parcel) {
  ACCL_ASSERT(lane < lanes_.size() && parcel.pieces.size() <= max_pieces, lane,
              parcel.pieces.size());
  Lane& to = lanes_[lane];
  if (stage_ != Stage::joined || broken_ || ending_since_) return false;
  const bool is_too_much = put_bytes_ >= most_bytes_per_poll;
  if (is_too_much) fabric_.news = true;  // No event would say that it may go on.
  if (is_too_much || to.next_send - to.first_send == sends_per_lane) return false;
  put_bytes_ += parcel.head.bytes;
  to.freed = parcel.freed.value_or(to.freed);
  Send& send = to.sends[to.next_send++ % sends_per_lane];
  send.note = {.kind = NoteKind::data,
               .lane = static_cast<std::uint16_t>(lane),
               .channel = theirs_,
               .freed = to.freed,
               .from = to.put_until,
               .until = parcel.until,
               .offset = parcel.offset,
               .head = parcel.head};
  to.put_until = parcel.until;
  to.told = to.freed;
  dirty_ &= ~(std::uint64_t{1} << lane);
  post(send, pack(lane, parcel));
  collect_sent(to);
  return true;
}

// The payload in one run. Several pieces are copied to where they will lie in the peer's ring, but
// in memory of ours: that place is free exactly as long as the peer's.
std::span<const std::byte> Channel::pack(std::uint32_t lane, const Parcel& parcel) {
  if (parcel.pieces.size() == 1) return parcel.pieces[0];
  const std::span<std::byte> run = packed_.bytes().subspan(
      std::size_t{lane} * geometry_.ring_bytes + parcel.offset, parcel.head.bytes);
  std::size_t at = 0;
  for (const auto piece : parcel.pieces) {
    if (piece.empty()) continue;
    std::memcpy(run.data() + at, piece.data(), piece.size());
    at += piece.size();
  }
  ACCL_ASSERT(at == parcel.head.bytes, at, parcel.head.bytes);
  return run;
}

void Channel::post(Send& send, std::span<const std::byte> payload) {
  send.channel = this;
  send.note.channel = theirs_;
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  param.cb.send = on_sent;
  param.user_data = &send;
  void* const request = fabric_.api().am_send(endpoint_, note_id, &send.note, sizeof send.note,
                                              payload.data(), payload.size(), &param);
  send.is_busy = request != nullptr;
  if (request == nullptr) return;
  if (UCS_PTR_IS_ERR(request)) return begin_end(fabric_.words(UCS_PTR_STATUS(request)));
  ++under_way_;
  ++fabric_.under_way;
}

void Channel::ended(void* request) {
  fabric_.api().request_free(request);
  --under_way_;
  --fabric_.under_way;
}

void Channel::on_sent(void* request, ucs_status_t status, void* user_data) {
  Send& send = *static_cast<Send*>(user_data);
  Channel& channel = *send.channel;
  channel.ended(request);
  if (status != UCS_OK) return channel.begin_end(channel.fabric_.words(status));
  send.is_busy = false;
  if (send.note.kind == NoteKind::data) channel.collect_sent(channel.lanes_[send.note.lane]);
}

// Messages may leave in any order; `sent` covers those that have left without a gap.
void Channel::collect_sent(Lane& lane) {
  std::uint32_t until = lane.sent.load(std::memory_order_relaxed);
  for (; lane.first_send != lane.next_send; ++lane.first_send) {
    const Send& send = lane.sends[lane.first_send % sends_per_lane];
    if (send.is_busy) break;
    until = send.note.until;
  }
  lane.sent.store(until, std::memory_order_release);
}

void Channel::release(std::uint32_t lane, std::uint32_t position) {
  ACCL_ASSERT(lane < lanes_.size(), lane);
  lanes_[lane].freed = position;
  dirty_ |= std::uint64_t{1} << lane;
  if (fabric_.armed) tell_releases();
}

void Channel::tell_releases() {
  if (stage_ != Stage::joined || broken_ || ending_since_) return;
  for (std::uint64_t left = dirty_; left != 0; left &= left - 1) {
    tell_release(static_cast<std::uint32_t>(std::countr_zero(left)));
  }
}

// One release of a lane at a time: the next one, when that has left, tells all there is by then.
void Channel::tell_release(std::uint32_t number) {
  Lane& lane = lanes_[number];
  if (lane.release.is_busy || ending_since_) return;
  dirty_ &= ~(std::uint64_t{1} << number);
  if (lane.told == lane.freed) return;
  lane.told = lane.freed;
  lane.release.note = {
      .kind = NoteKind::release, .lane = static_cast<std::uint16_t>(number), .freed = lane.freed};
  post(lane.release, {});
}

// Notes may overtake each other, so an old position is no news. False: more than was ever put.
bool Channel::take_release(Lane& lane, std::uint32_t position) {
  const std::uint32_t known = lane.released.load(std::memory_order_relaxed);
  const std::uint32_t put = lane.put_until - known;
  const std::uint32_t ahead = position - known;
  if (static_cast<std::int32_t>(ahead) <= 0) return true;
  if (ahead > put) return false;
  lane.released.store(position, std::memory_order_release);
  return true;
}

ucs_status_t Channel::take(const Note& note, void* data, std::size_t bytes, bool is_at_peer) {
  if (note.kind == NoteKind::hello) {
    hello_came_ = true;
    return UCS_OK;
  }
  const bool is_data = note.kind == NoteKind::data;
  bool is_good = (is_data || note.kind == NoteKind::release) && note.lane < lanes_.size() &&
                 take_release(lanes_[note.lane], note.freed);
  std::byte* place = nullptr;
  if (is_good && is_data && bytes == note.head.bytes) place = inbox_.start(note, !is_at_peer);
  if (is_data && place == nullptr) is_good = false;
  if (!is_good) {
    begin_end("it sent a message that cannot be");
    log(LogLevel::info, "ucx: rank {}: kind {:#x}, lane {}, {} bytes at {}, from {} until {}",
        index(peer_), static_cast<unsigned>(note.kind), note.lane, bytes, note.offset, note.from,
        note.until);
    return UCS_OK;
  }
  if (!is_data) return UCS_OK;
  if (is_at_peer) return fetch(note, place, data);
  if (bytes > 0) std::memcpy(place, data, bytes);
  inbox_.finish(note);
  return UCS_OK;
}

// Has UCX bring a payload that is still in the peer's memory.
ucs_status_t Channel::fetch(const Note& note, std::byte* place, void* data) {
  std::array<Receipt, sends_per_lane>& receipts = lanes_[note.lane].receipts;
  const auto free = std::ranges::find_if(receipts, [](const auto& r) { return !r.is_busy; });
  if (free == receipts.end()) {
    begin_end("it sent more messages at once than it may");
    return UCS_OK;
  }
  *free = {.channel = this, .note = note, .is_busy = true};
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  param.cb.recv_am = on_fetched;
  param.user_data = &*free;
  void* const request =
      fabric_.api().am_recv_data(fabric_.worker(), data, place, note.head.bytes, &param);
  if (UCS_PTR_IS_ERR(request)) {
    free->is_busy = false;
    begin_end(fabric_.words(UCS_PTR_STATUS(request)));
  } else if (request == nullptr) {
    free->is_busy = false;
    inbox_.finish(note);
  } else {
    ++under_way_;
    ++fabric_.under_way;
  }
  return UCS_INPROGRESS;  // The payload is UCX's from here on.
}

void Channel::on_fetched(void* request, ucs_status_t status, std::size_t bytes, void* user_data) {
  Receipt& receipt = *static_cast<Receipt*>(user_data);
  Channel& channel = *receipt.channel;
  channel.ended(request);
  receipt.is_busy = false;
  if (status == UCS_OK && bytes == receipt.note.head.bytes) {
    channel.inbox_.finish(receipt.note);
  } else {
    channel.begin_end(channel.fabric_.words(status));
  }
}

void Channel::poll() {
  put_bytes_ = 0;
  if (dirty_ != 0) tell_releases();
  if (ending_since_ && !broken_) conclude();
}

}  // namespace accl::ucx
