// ending.cc - how a channel ends: the peer leaves with a farewell, dies without one, or the device
// loses it; or this side leaves. What the other one sent before is taken to the end.
#include <sched.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <string_view>

#include "accl/base/log.h"
#include "transport/verbs/channel.h"

namespace accl::verbs {
namespace {

// How long after the end of a peer its messages may still come: where its farewell says that there
// are more, and where there was none.
constexpr auto grace_with_farewell = std::chrono::milliseconds(1000);
constexpr auto grace = std::chrono::milliseconds(200);

constexpr const char* left = "closed by it";

// What a person can look at. Sources: the InfiniBand specification's meaning of each status, and
// what users of RDMA report for it.
const char* hint_for(ibv_wc_status status) {
  switch (status) {
    case IBV_WC_RETRY_EXC_ERR:
      return "nothing was acknowledged: look at links, routes and GIDs of both, and whether the "
             "fabric is lossless for ACCL_IB_TC";
    case IBV_WC_LOC_PROT_ERR:
    case IBV_WC_LOC_ACCESS_ERR:
      return "the device may not read this memory: switch IOMMU and PCIe ACS to pass-through";
    case IBV_WC_REM_ACCESS_ERR:
      return "the peer's device refused the write: do all ranks run the same library?";
    case IBV_WC_REM_OP_ERR:
    case IBV_WC_REM_INV_REQ_ERR:
      return "the peer's device refused the request";
    default:
      return "see dmesg of both hosts";
  }
}

// What another path or port may cure.
bool is_of_the_path(ibv_wc_status status) {
  return status == IBV_WC_RETRY_EXC_ERR || status == IBV_WC_WR_FLUSH_ERR ||
         status == IBV_WC_LOC_QP_OP_ERR || status == IBV_WC_FATAL_ERR ||
         status == IBV_WC_GENERAL_ERR || status == IBV_WC_RESP_TIMEOUT_ERR;
}

}  // namespace

// Only the first reason counts; what is flushed afterwards says nothing.
void Channel::begin_end(std::string reason) {
  if (ending_since_) return;
  if (restart_ && !restart_->reason.empty()) {
    reason = fmt::format("{}; and then: {}", restart_->reason, reason);
  }
  if (stage_ == Stage::greeting || stage_ == Stage::connecting) {
    refuse(ErrorKind::system, fmt::format("verbs: cannot join rank {}: {}", index(peer_), reason));
  }
  ending_since_ = Clock::now();
  reason_ = std::move(reason);
}

void Channel::fail_request(const Ticket& ticket, const ibv_wc& done) {
  if (ending_since_ || (restart_ && restart_->phase == Restart::Phase::draining)) return;
  const std::string reason = fmt::format("{} (status {}, vendor {:#x}) on {}, lane {}; {}",
                                         port_of(ticket.lane).api().wc_status_str(done.status),
                                         static_cast<int>(done.status), done.vendor_err, path_,
                                         ticket.lane, hint_for(done.status));
  if (is_of_the_path(done.status)) return lose_path(reason, true);
  begin_end(reason);
}

void Channel::lose_rail(std::uint32_t rail, const std::string& why) {
  const bool uses_it = rail < footings_.size() && footings_[rail] && footings_[rail]->lanes > 0;
  if (uses_it) lose_path(fmt::format("{}: {}", rails_[rail].port().text(), why));
}

void Channel::read_meeting() {
  if (!is_joined()) return;
  while (!farewell_ && talk_.listen()) {
    Note note;
    std::memcpy(&note, talk_.words().data(), sizeof note);
    talk_.await(sizeof note);
    take_note(note);
  }
  if (talk_.end()) begin_end(*talk_.end());
}

Note Channel::note_of(NoteKind kind) const {
  Note note{.kind = kind, .epoch = epoch_, .is_move = restart_ && restart_->is_move};
  for (std::uint32_t i = 0; i < lanes_.size(); ++i) {
    const Lane& lane = lanes_[i];
    note.lanes[i] = {.put_until = lane.put_until,
                     .arrived = lane.arrived.load(std::memory_order_relaxed),
                     .freed = lane.freed};
    if (kind == NoteKind::restart) note.lanes[i].address = address_of(i);
  }
  return note;
}

void Channel::take_note(const Note& note) {
  if (note.magic != greeting_magic) return begin_end("it says what is not ours");
  if (note.kind == NoteKind::farewell) return take_farewell(note);
  if (note.kind == NoteKind::failure) {
    const std::string_view reason(note.reason.data(), note.reason.size() - 1);
    return begin_end(fmt::format("{}: {}", left, reason.substr(0, reason.find('\0'))));
  }
  const auto ahead = static_cast<std::int32_t>(note.epoch - epoch_);
  if (note.kind == NoteKind::restart && ahead > 0) {
    const bool is_move = note.is_move != 0;
    restart(is_move ? peer_moves : "it asked for new queues", note.epoch, is_move);
  }
  if (!restart_ || note.epoch != epoch_) return;  // Of queues that were replaced meanwhile.
  if (note.kind == NoteKind::restart) restart_->theirs = note;
  if (note.kind == NoteKind::restart && note.is_move != 0) excuse_failure();
  if (note.kind == NoteKind::ready) restart_->is_peer_ready = true;
}

void Channel::take_farewell(const Note& note) {
  farewell_ = note;
  restart_.reset();  // It needs no new queues any more, nor do we.
  begin_end(left);
  for (std::size_t i = 0; i < lanes_.size(); ++i) take_word(lanes_[i], note.lanes[i].freed);
}

bool Channel::has_all_of(const Note& farewell) const {
  for (std::uint32_t i = 0; i < lanes_.size(); ++i) {
    const std::uint32_t arrived = lanes_[i].arrived.load(std::memory_order_relaxed);
    if (arrived != farewell.lanes[i].put_until) return false;
  }
  return true;
}

void Channel::conclude() {
  read_meeting();  // The device may notice first that a peer left, and the farewell is here too.
  const auto waited = Clock::now() - *ending_since_;
  const bool is_over =
      farewell_ ? has_all_of(*farewell_) || waited > grace_with_farewell : waited > grace;
  if (!is_over) return;
  failure_ = fmt::format("connection to rank {}: {}", index(peer_), farewell_ ? left : reason_);
  broken_ = true;
  log(LogLevel::info, "verbs: {}", failure_);
  if (!farewell_ && !talk_.end()) tell_failure();
}

// The peer may be the one that waits for what does not come, and the cause is known here only.
void Channel::tell_failure() {
  Note note = note_of(NoteKind::failure);
  reason_.copy(note.reason.data(), note.reason.size() - 1);
  static_cast<void>(talk_.say(std::as_bytes(std::span(&note, 1))));
}

bool Channel::is_all_acknowledged() const {
  return std::ranges::all_of(lanes_, [](const Lane& lane) { return lane.queue->is_idle(); });
}

// Asks for an answer to the last request of every lane that waits for one, or has a release to
// tell: it answers for all before it. Gives the lanes that had no room to ask.
std::uint64_t Channel::ask_for_answers(std::uint64_t lanes) {
  for (std::uint64_t left = lanes; left != 0; left &= left - 1) {
    const auto lane = static_cast<std::uint32_t>(std::countr_zero(left));
    if (!lanes_[lane].queue->has_room(1)) continue;
    tell_release(lane, true);
    lanes &= ~(std::uint64_t{1} << lane);
  }
  return lanes;
}

void Channel::settle(const Deadline& deadline) {
  std::uint64_t unasked = 0;
  for (std::uint32_t i = 0; i < lanes_.size(); ++i) {
    const bool is_idle = !restart_ && lanes_[i].queue->is_idle();
    unasked |= std::uint64_t{!is_idle || lanes_[i].told != lanes_[i].freed} << i;
  }
  do {  // Once at least: others may have used the time up.
    if (!restart_ && !move_) unasked = ask_for_answers(unasked);
    if (!poll()) ::sched_yield();
    read_meeting();
  } while (!ending_since_ && !deadline.passed() &&
           (restart_ || move_ || is_behind_ || unasked != 0 || !is_all_acknowledged()));
}

void Channel::leave(const Deadline& deadline) {
  if (is_joined() && !ending_since_) {
    settle(deadline);
    const Note farewell = note_of(NoteKind::farewell);
    static_cast<void>(talk_.say(std::as_bytes(std::span(&farewell, 1))));
  }
  stage_ = Stage::left;
  talk_.shut();
  for (Lane& lane : lanes_) lane.queue.reset();
}

}  // namespace accl::verbs
