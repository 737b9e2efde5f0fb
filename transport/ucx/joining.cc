// joining.cc - how two ranks come to talk over UCX. Each sends its greeting and the address of its
// worker over the meeting socket; makes an endpoint from the other's; says hello through it; and
// when that has left and the other's hello is here, says so over the meeting socket. UCX needs both
// ends driven until then, and from then on neither.
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "transport/ucx/channel.h"

namespace accl::ucx {
namespace {

std::string complaint_about(const Opening& theirs, const Geometry& ours, Rank peer) {
  const std::string wrong =
      complaint("ucx", theirs.greeting, greeting_of(greeting_magic, ours), peer);
  if (!wrong.empty()) return wrong;
  if (theirs.address_bytes == 0 || theirs.address_bytes > max_address_bytes) {
    return fmt::format(
        "ucx: rank {} sent an address of {} bytes; use the same library on all ranks", index(peer),
        theirs.address_bytes);
  }
  return {};
}

}  // namespace

Channel::Channel(Fabric& fabric, const Geometry& geometry, std::uint32_t number, Rank peer,
                 Fd meeting)
    : fabric_(fabric),
      geometry_(geometry),
      number_(number),
      peer_(peer),
      meeting_(std::move(meeting)),
      words_(sizeof(Opening)),
      lane_states_(std::make_unique<Lane[]>(geometry.lanes)),
      lanes_(lane_states_.get(), geometry.lanes),
      inbox_(geometry),
      packed_(std::size_t{geometry.lanes} * geometry.ring_bytes) {
  const std::span<const std::byte> address = fabric_.address();
  Opening opening{.greeting = greeting_of(greeting_magic, geometry), .channel = number};
  opening.address_bytes = static_cast<std::uint32_t>(address.size());
  say(std::as_bytes(std::span(&opening, 1)));
  say(address);
}

// What is said fits into the buffer of the socket, so this never waits. Where the peer has gone,
// reading tells.
void Channel::say(std::span<const std::byte> words) {
  const ssize_t sent =
      ::send(meeting_.get(), words.data(), words.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent == static_cast<ssize_t>(words.size())) return;
  refuse(ErrorKind::remote, fmt::format("ucx: cannot greet rank {}: {}", index(peer_),
                                        sent < 0 ? std::generic_category().message(errno)
                                                 : "its connection takes no data"));
}

// Only the first reason counts.
void Channel::refuse(ErrorKind kind, const std::string& text) {
  if (!refusal_) refusal_.emplace(kind, text);
}

void Channel::step_join() {
  if (stage_ == Stage::joined || stage_ == Stage::left || refusal_) return;
  read_meeting();
  if (stage_ == Stage::connecting && hello_came_ && is_flushed_ && !is_ready_) get_ready();
  // A peer that joined and died at once is joined first: what it sent counts.
  if (stage_ != Stage::joined && ending_since_)
    refuse(ErrorKind::remote, fmt::format("ucx: cannot join rank {}: {}", index(peer_), reason_));
}

void Channel::get_ready() {
  is_ready_ = true;
  const Ready ready;
  say(std::as_bytes(std::span(&ready, 1)));
  if (peer_is_ready_) stage_ = Stage::joined;
}

void Channel::read_meeting() {
  while (meeting_) {
    std::byte end{};  // After the last words only the end can come.
    const std::size_t wanted = words_.size() - have_;
    std::byte* const to = wanted > 0 ? words_.data() + have_ : &end;
    const ssize_t came = ::recv(meeting_.get(), to, wanted > 0 ? wanted : 1, MSG_DONTWAIT);
    if (came < 0 && errno == EINTR) continue;
    if (came < 0 && errno == EAGAIN) return;
    if (came <= 0) return hang_up(came < 0 ? errno : 0);
    if (wanted > 0) have_ += static_cast<std::size_t>(came);
    if (wanted > 0 && have_ == words_.size()) take_words();
    if (refusal_) return;
  }
}

void Channel::hang_up(int error) {
  begin_end("closed by it");
  if (stage_ == Stage::joined) return;
  const std::string why = error != 0 ? std::generic_category().message(error) : reason_;
  refuse(ErrorKind::remote,
         fmt::format("ucx: rank {} left before it was joined: {}", index(peer_), why));
}

// What the socket said is whole: goes on to what must come next.
void Channel::take_words() {
  have_ = 0;
  if (stage_ == Stage::greeting) {
    take_greeting();
  } else if (stage_ == Stage::address) {
    connect();
    words_.resize(sizeof(Ready));
    stage_ = Stage::connecting;
  } else if (!peer_is_ready_) {
    peer_is_ready_ = true;
    words_.resize(sizeof(Farewell));
    if (is_ready_) stage_ = Stage::joined;
  } else {
    take_farewell();
  }
}

void Channel::take_greeting() {
  Opening theirs;
  std::memcpy(&theirs, words_.data(), sizeof theirs);
  const std::string wrong = complaint_about(theirs, geometry_, peer_);
  if (!wrong.empty()) return refuse(ErrorKind::invalid_usage, wrong);
  theirs_ = theirs.channel;
  words_.resize(theirs.address_bytes);
  stage_ = Stage::address;
}

void Channel::connect() {
  ucp_ep_params_t params{};
  params.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
                      UCP_EP_PARAM_FIELD_ERR_HANDLER;
  params.address = reinterpret_cast<const ucp_address_t*>(words_.data());
  params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
  params.err_handler = {.cb = on_error, .arg = this};
  const ucs_status_t status = fabric_.api().ep_create(fabric_.worker(), &params, &endpoint_);
  if (status != UCS_OK) {
    endpoint_ = nullptr;
    return refuse(
        ErrorKind::system,
        fmt::format("ucx: UCX has no way to rank {} that reports a lost peer: {}; let UCX_TLS "
                    "(tcp, rc, ...) and UCX_NET_DEVICES name what both hosts have, or "
                    "use --transport tcp",
                    index(peer_), fabric_.words(status)));
  }
  hello_.note.kind = NoteKind::hello;
  post(hello_, {});
  flush();
}

}  // namespace accl::ucx
