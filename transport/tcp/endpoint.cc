#include "transport/tcp/endpoint.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "accl/base/assert.h"
#include "accl/base/error.h"
#include "accl/base/log.h"

namespace accl::tcp {
namespace {

// Reads of one poll() on one socket: enough to take a header and the start of its payload, not so
// many that one busy peer keeps the others waiting.
constexpr int reads_per_poll = 4;

// One loss is answered by the first retransmission, and a congested network by a later one; these
// are asked for when a wait has outlasted its time-out anyway.
constexpr std::uint32_t stalled_tries = 2;
constexpr std::uint32_t stalled_ms = 500;

// Of a payload that a sleeper waits for: beyond it the window could close before anybody reads.
constexpr std::size_t most_awaited = 64 << 10;

std::string system_words(int error) { return std::generic_category().message(error); }

// Small messages must not wait for the acknowledgement of others. Means nothing to a unix socket.
void set_no_delay(int socket) {
  int domain = 0;
  socklen_t bytes = sizeof domain;
  const int got = ::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &bytes);
  if (got != 0 || (domain != AF_INET && domain != AF_INET6)) return;
  const int on = 1;
  if (::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) {
    fail_system("tcp: cannot set TCP_NODELAY", errno);
  }
}

}  // namespace

TcpEndpoint::TcpEndpoint(std::shared_ptr<Hub> hub, Rank peer, Fd socket)
    : hub_(std::move(hub)),
      peer_(peer),
      socket_(std::move(socket)),
      path_(hub_->paths.of(socket_.get())),
      lane_states_(std::make_unique<LaneState[]>(hub_->geometry.lanes)),
      lanes_(lane_states_.get(), hub_->geometry.lanes),
      inbox_(std::size_t{hub_->geometry.lanes} * hub_->geometry.ring_bytes),
      sender_(socket_.get(), lanes_),
      receiver_(socket_.get(), lanes_, inbox_.bytes(), hub_->geometry.ring_bytes) {
  set_no_delay(socket_.get());
  send_greeting();
}

TcpEndpoint::~TcpEndpoint() {
  if (std::erase(hub_->endpoints, this) == 0 || broken_) return;
  // Closing would do, but for a forked child that may hold the socket too.
  ::epoll_ctl(hub_->epoll.get(), EPOLL_CTL_DEL, socket_.get(), nullptr);
}

// "connection to rank 5 (10.0.1.2:41234 on eth0 to 10.0.3.2:35555)".
std::string TcpEndpoint::connection() const {
  return fmt::format("connection to rank {}{}", index(peer_),
                     path_.empty() ? "" : fmt::format(" ({})", path_));
}

// Fits into the buffer of a socket nothing was written to, so this never waits.
void TcpEndpoint::send_greeting() {
  const Greeting greeting = greeting_of(greeting_magic, hub_->geometry);
  const ssize_t sent =
      ::send(socket_.get(), &greeting, sizeof greeting, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent == sizeof greeting) return;
  fail(ErrorKind::remote, "tcp: no greeting on the {}: {}", connection(),
       sent < 0 ? system_words(errno) : "it takes no data");
}

void TcpEndpoint::finish(const Deadline& deadline) {
  read_greeting(deadline);
  watch(EPOLLIN, EPOLL_CTL_ADD);
  hub_->endpoints.push_back(this);
}

void TcpEndpoint::read_greeting(const Deadline& deadline) {
  Greeting theirs;
  std::size_t have = 0;
  while (have < sizeof theirs) {
    pollfd waiting{socket_.get(), POLLIN, 0};
    const int ready = ::poll(&waiting, 1, deadline.left_ms());
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) fail_system("tcp: cannot wait for a greeting", errno);
    if (ready == 0) {
      fail(ErrorKind::timeout, "tcp: no greeting in time on the {}; is that rank running?",
           connection());
    }
    auto* const to = reinterpret_cast<std::byte*>(&theirs) + have;
    const ssize_t came = ::recv(socket_.get(), to, sizeof theirs - have, MSG_DONTWAIT);
    if (came < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (came <= 0) {
      fail(ErrorKind::remote, "tcp: {} ended before its greeting: {}", connection(),
           came < 0 ? system_words(errno) : "closed by that rank");
    }
    have += static_cast<std::size_t>(came);
  }
  const std::string wrong =
      complaint("tcp", theirs, greeting_of(greeting_magic, hub_->geometry), peer_);
  if (!wrong.empty()) fail(ErrorKind::invalid_usage, "{}", wrong);
}

void TcpEndpoint::watch(std::uint32_t events, int operation) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = this;
  if (::epoll_ctl(hub_->epoll.get(), operation, socket_.get(), &event) != 0) {
    fail_system("tcp: cannot watch a connection", errno);
  }
}

LaneCounters TcpEndpoint::counters(std::uint32_t lane) const {
  ACCL_ASSERT(lane < lanes_.size(), lane);
  const LaneState& state = lanes_[lane];
  return {&state.arrived, &state.released, &state.sent};
}

std::byte* TcpEndpoint::outbox(std::uint32_t) { return nullptr; }

const std::byte* TcpEndpoint::inbox(std::uint32_t lane) const {
  ACCL_ASSERT(lane < lanes_.size(), lane);
  return inbox_.bytes().data() + std::size_t{lane} * hub_->geometry.ring_bytes;
}

bool TcpEndpoint::put(std::uint32_t lane, const Parcel& parcel) {
  if (broken_ || !sender_.put(lane, parcel)) return false;
  if (hub_->armed) prepare_sleep();
  return true;
}

void TcpEndpoint::release(std::uint32_t lane, std::uint32_t position) {
  if (broken_) return;
  sender_.release(lane, position);
  if (hub_->armed) prepare_sleep();
}

bool TcpEndpoint::expect(std::uint32_t lane, std::uint32_t until, std::span<std::byte> target) {
  return receiver_.expect(lane, until, target);
}

bool TcpEndpoint::took(std::uint32_t lane, std::uint32_t until) const {
  return receiver_.took(lane, until);
}

const std::byte* TcpEndpoint::view(const RegionKey&, std::uint64_t, std::uint64_t) {
  return nullptr;
}

// The kernel sends again after 200 ms or so, and then waits twice as long each time: the waits that
// are over add up to the present one less the first. That counts where the peer goes on sending and
// so acknowledges what came before. Probes ask whether a window of size 0 has opened.
std::optional<Stall> TcpEndpoint::stall() const {
  tcp_info info{};
  socklen_t bytes = sizeof info;
  if (::getsockopt(socket_.get(), IPPROTO_TCP, TCP_INFO, &info, &bytes) != 0) return std::nullopt;
  const bool resends = info.tcpi_unacked != 0;
  const std::uint32_t tries = resends ? info.tcpi_retransmits : info.tcpi_probes;
  const std::uint32_t waits_us = info.tcpi_rto - (info.tcpi_rto >> info.tcpi_backoff);
  std::uint32_t silent_ms = info.tcpi_last_ack_recv;
  if (resends) silent_ms = std::max({silent_ms, info.tcpi_last_data_sent, waits_us / 1000});
  if (tries < stalled_tries || silent_ms < stalled_ms) return std::nullopt;
  return Stall{silent_ms, tries};
}

void TcpEndpoint::flush() {
  if (sender_.flush()) hub_->news = true;
}

void TcpEndpoint::poll_out() {
  if (broken_) return;
  if (sender_.waiting()) flush();
  if (sender_.error() != 0) poll_in();  // Epoll may have nothing to say about that.
}

// What a dying peer sent before is read to the end, even where sending to it fails already.
void TcpEndpoint::poll_in() {
  if (broken_) return;
  ReadResult result = ReadResult::full;
  for (int i = 0; i < reads_per_poll && result == ReadResult::full; ++i) {
    result = receiver_.read();
  }
  if (receiver_.left() < static_cast<std::size_t>(wakes_at_)) wake_at(1);
  if (result == ReadResult::failed) {
    fail_with(fmt::format("{}: {}", connection(), receiver_.problem()));
  } else if (result == ReadResult::closed) {
    fail_with(connection() + " closed by it");
  } else if (sender_.error() != 0 && result != ReadResult::full) {
    fail_with(fmt::format("{}: {}", connection(), system_words(sender_.error())));
  }
}

void TcpEndpoint::fail_with(const std::string& reason) {
  broken_ = true;
  failure_ = reason;
  hub_->news = true;
  log(LogLevel::info, "tcp: {}", reason);
  watch(0, EPOLL_CTL_DEL);  // Or it would stay readable for ever.
  ::shutdown(socket_.get(), SHUT_RDWR);
}

// Half a payload is of no use: who sleeps need not wake for every packet of it.
void TcpEndpoint::wake_at(std::size_t bytes) {
  const auto wanted = static_cast<int>(std::clamp<std::size_t>(bytes, 1, most_awaited));
  if (wanted == wakes_at_) return;
  const int set = ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVLOWAT, &wanted, sizeof wanted);
  if (set == 0) wakes_at_ = wanted;
}

void TcpEndpoint::prepare_sleep() {
  if (broken_) return;
  wake_at(receiver_.left());
  if (sender_.waiting()) flush();
  // After an error the socket says nothing more of its own accord: poll_in() draws the conclusion.
  if (sender_.error() != 0) hub_->news = true;
  if (!sender_.queued() || watches_output_) return;
  watch(EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
  watches_output_ = true;
}

void TcpEndpoint::end_sleep() {
  if (watches_output_ && !broken_) watch(EPOLLIN, EPOLL_CTL_MOD);
  watches_output_ = false;
}

}  // namespace accl::tcp
