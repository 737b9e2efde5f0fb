// ending.cc - how a channel ends: the peer leaves with a farewell, dies without one, or UCX loses
// it; or this side leaves. What the other one sent before is taken to the end.
#include <sched.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "accl/base/log.h"
#include "transport/ucx/channel.h"

namespace accl::ucx {
namespace {

// How long after the end of a peer UCX may still bring what it sent: where its farewell says that
// there is more, and where there was none.
constexpr auto grace_with_farewell = std::chrono::milliseconds(1000);
constexpr auto grace = std::chrono::milliseconds(50);

constexpr const char* left = "closed by it";

}  // namespace

// Called from within UCX too, so it only takes notes; conclude() follows with the next poll().
void Channel::begin_end(const char* reason) {
  if (ending_since_) return;
  ending_since_ = Clock::now();
  reason_ = reason;
  fabric_.news = true;
}

void Channel::on_error(void* user_data, ucp_ep_h, ucs_status_t status) {
  Channel& channel = *static_cast<Channel*>(user_data);
  channel.begin_end(channel.fabric_.words(status));
}

void Channel::take_farewell() {
  farewell_.emplace();
  std::memcpy(&*farewell_, words_.data(), sizeof(Farewell));
  words_.clear();
  begin_end(left);
  if (farewell_->magic != greeting_magic) farewell_.reset();
  for (std::size_t i = 0; farewell_ && i < lanes_.size(); ++i) {
    static_cast<void>(take_release(lanes_[i], farewell_->lanes[i].freed));
  }
}

// The peer has released all that we ever put. Our releases are in the farewell too.
bool Channel::is_all_read() const {
  return std::ranges::all_of(lanes_, [](const Lane& lane) {
    return lane.released.load(std::memory_order_relaxed) == lane.put_until;
  });
}

bool Channel::has_all_of(const Farewell& farewell) const {
  for (std::uint32_t i = 0; i < lanes_.size(); ++i) {
    if (inbox_.arrived(i).load(std::memory_order_relaxed) != farewell.lanes[i].put_until) {
      return false;
    }
  }
  return true;
}

void Channel::conclude() {
  read_meeting();  // UCX may notice first that a peer left, and the farewell is here too.
  if (stage_ != Stage::joined) return;
  const auto waited = Clock::now() - *ending_since_;
  const bool is_over =
      farewell_ ? has_all_of(*farewell_) || waited > grace_with_farewell : waited > grace;
  if (!is_over) return;
  failure_ = fmt::format("connection to rank {}: {}", index(peer_), farewell_ ? left : reason_);
  broken_ = true;
  fabric_.news = true;
  log(LogLevel::info, "ucx: {}", failure_);
}

void Channel::flush() {
  is_flushed_ = false;
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  param.cb.send = on_flushed;
  param.user_data = this;
  void* const request = fabric_.api().ep_flush(endpoint_, &param);
  if (UCS_PTR_IS_ERR(request)) return begin_end(fabric_.words(UCS_PTR_STATUS(request)));
  is_flushed_ = request == nullptr;
  if (is_flushed_) return;
  ++under_way_;
  ++fabric_.under_way;
}

void Channel::on_flushed(void* request, ucs_status_t status, void* user_data) {
  Channel& channel = *static_cast<Channel*>(user_data);
  channel.ended(request);
  if (status != UCS_OK) return channel.begin_end(channel.fabric_.words(status));
  channel.is_flushed_ = true;
}

void Channel::leave(const Deadline& deadline) {
  inbox_.forget_expectations();
  if (stage_ == Stage::joined && !ending_since_) {
    tell_releases();
    settle(deadline, false);
    // All has left our memory; a flush waits until the peer's UCX has it. There is nothing to wait
    // for where it has read it all, and said so.
    if (!is_all_read()) flush();
    while (!is_flushed_ && !ending_since_ && !deadline.passed()) fabric_.progress();
  }
  if (stage_ == Stage::joined && meeting_) {
    Farewell farewell;
    for (std::size_t i = 0; i < lanes_.size(); ++i) {
      farewell.lanes[i] = {lanes_[i].put_until, lanes_[i].freed};
    }
    say(std::as_bytes(std::span(&farewell, 1)));
  }
  stage_ = Stage::left;
  ::shutdown(meeting_.get(), SHUT_RDWR);
  close(deadline);
}

// Drives UCX until this channel has nothing under way.
void Channel::settle(const Deadline& deadline, bool is_closing) {
  while (under_way_ > 0 && !deadline.passed() && (is_closing || !ending_since_)) {
    fabric_.progress();
    if (!is_closing) read_meeting();
    ::sched_yield();
  }
}

// By force: an orderly close would wait for a peer that may be gone. What is still under way ends
// with an error; what does not end in time has its memory kept until the worker is gone.
void Channel::close(const Deadline& deadline) {
  if (endpoint_ == nullptr) return;
  begin_end("closed by us");
  ucp_request_param_t param{};
  param.op_attr_mask =
      UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_FLAGS;
  param.flags = UCP_EP_CLOSE_FLAG_FORCE;
  param.cb.send = on_closed;
  param.user_data = this;
  void* const request = fabric_.api().ep_close(endpoint_, &param);
  endpoint_ = nullptr;
  if (request != nullptr && !UCS_PTR_IS_ERR(request)) {
    ++under_way_;
    ++fabric_.under_way;
  }
  settle(deadline, true);
}

void Channel::on_closed(void* request, ucs_status_t, void* user_data) {
  static_cast<Channel*>(user_data)->ended(request);
}

}  // namespace accl::ucx
