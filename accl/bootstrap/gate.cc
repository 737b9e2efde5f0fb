#include "accl/bootstrap/gate.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "accl/base/log.h"
#include "accl/bootstrap/address.h"

namespace accl::bootstrap {
namespace {

constexpr Milliseconds patience{5000};    // For a preamble; ours comes with the connection.
constexpr std::uint64_t log_limit = 100;  // Lines; a scanner must not fill a disk.
constexpr Milliseconds breather{50};      // While descriptors are short.

// Only our own user (or root) may come by unix socket.
bool is_own_user(int socket) {
  ucred peer{};
  socklen_t bytes = sizeof peer;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) != 0) return false;
  return peer.uid == geteuid() || peer.uid == 0;
}

}  // namespace

Gate::Gate(Reactor& reactor, const Secret& secret, std::size_t limit, Admit admit)
    : reactor_(reactor), secret_(secret), limit_(limit), admit_(std::move(admit)) {}

Gate::~Gate() { close(); }

void Gate::open(Fd listener) {
  const int fd = listener.get();
  listeners_.push_back(std::move(listener));
  reactor_.add(fd, EPOLLIN, [this, fd](std::uint32_t) { accept_all(fd); });
}

void Gate::close() {
  reactor_.cancel(pause_);
  for (const Fd& listener : listeners_) reactor_.remove(listener.get());
  listeners_.clear();
  while (!newcomers_.empty()) forget(newcomers_.begin()->first);
}

void Gate::accept_all(int listener) {
  // Bounded, for the sake of the connections that are open already.
  for (int i = 0; i < 256 && accept_one(listener); ++i) {
  }
}

bool Gate::accept_one(int listener) {
  Fd socket(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (socket) {
    welcome(std::move(socket));
    // Handing it on may have closed this gate.
    return std::any_of(listeners_.begin(), listeners_.end(),
                       [&](const Fd& one) { return one.get() == listener; });
  }
  if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) pause();
  return errno == ECONNABORTED || errno == EINTR;
}

void Gate::pause() {
  log(LogLevel::warning, "no more connections for now: {}; raise ulimit -n", std::strerror(errno));
  for (const Fd& listener : listeners_) reactor_.modify(listener.get(), 0);
  reactor_.cancel(pause_);
  pause_ = reactor_.after(breather, [this] {
    for (const Fd& listener : listeners_) reactor_.modify(listener.get(), EPOLLIN);
  });
  errno = EAGAIN;
}

void Gate::welcome(Fd socket) {
  if (newcomers_.size() >= limit_) turn_away(oldest(), "too many wait here");
  const int fd = socket.get();
  Newcomer newcomer;
  newcomer.from = peer_address(fd).text();
  newcomer.timer = reactor_.after(patience, [this, fd] {
    turn_away(fd, fmt::format("it did not prove itself within {} ms", patience.count()));
  });
  newcomer.socket = std::move(socket);
  const bool is_unix = local_address(fd).family() == AF_UNIX;
  newcomers_[fd] = std::move(newcomer);
  reactor_.add(fd, EPOLLIN, [this, fd](std::uint32_t) { read_some(fd); });
  if (is_unix && !is_own_user(fd)) return turn_away(fd, "it belongs to another user");
  read_some(fd);  // Ours have sent their preamble by now.
}

int Gate::oldest() const {
  const auto found = std::min_element(
      newcomers_.begin(), newcomers_.end(),
      [](const auto& a, const auto& b) { return a.second.timer < b.second.timer; });
  return found->first;
}

void Gate::read_some(int socket) {
  Newcomer& newcomer = newcomers_.at(socket);
  std::array<char, preamble_bytes> chunk;
  const std::size_t wanted = preamble_bytes - newcomer.bytes.size();
  const ssize_t got = recv(socket, chunk.data(), wanted, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    // Peers that end while they dial do this, and probes of all kinds.
    log(LogLevel::info, "{} came and went", newcomer.from);
    return forget(socket);
  }
  newcomer.bytes.append(chunk.data(), static_cast<std::size_t>(got));
  const std::string problem = objection(newcomer.bytes, secret_);
  if (!problem.empty()) return turn_away(socket, problem);
  if (newcomer.bytes.size() < preamble_bytes) return;
  const Preamble preamble = decode_preamble(newcomer.bytes);
  Fd admitted = std::move(newcomer.socket);
  forget(socket);
  tune_socket(socket, preamble.purpose != Purpose::meet);
  admit_(std::move(admitted), preamble);
}

void Gate::turn_away(int socket, const std::string& reason) {
  ++turned_away_;
  if (turned_away_ <= log_limit) {
    log(LogLevel::warning, "turned away a connection from {}: {}", newcomers_.at(socket).from,
        reason);
  }
  forget(socket);
}

void Gate::forget(int socket) {
  const auto newcomer = newcomers_.find(socket);
  reactor_.cancel(newcomer->second.timer);
  reactor_.remove(socket);
  newcomers_.erase(newcomer);
}

}  // namespace accl::bootstrap
