#include "bench/perf/star.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

#include "accl/base/error.h"

namespace accl::perf {
namespace {

constexpr std::uint64_t star_topic = 0x61632d7065726600;  // "ac-perf": nobody else's.
// A rank may wait while others measure the peers or check 100s of MiB. A dead one is seen at once.
constexpr Milliseconds patience{600'000};

void wait_for(int socket, short events) {
  pollfd wait{socket, events, 0};
  const Deadline deadline(patience);
  int ready = 0;
  do {
    ready = ::poll(&wait, 1, deadline.left_ms());
  } while (ready < 0 && errno == EINTR);
  if (ready < 0) fail_system("waiting for another rank", errno);
  if (ready == 0) {
    fail(ErrorKind::timeout, "no word from another rank for {} s: see what holds it up",
         patience.count() / 1000);
  }
}

}  // namespace

Star::Star(Session& session) : session_(session) {
  std::vector<Rank> peers;
  if (self() != Rank{0}) peers.push_back(Rank{0});
  for (std::uint32_t rank = 1; self() == Rank{0} && rank < size(); ++rank) {
    peers.push_back(Rank{rank});
  }
  if (peers.empty()) return;
  sockets_ = session_.meet(peers, star_topic, Deadline(session_.timeout()), MeetOver::aside);
  for (const Fd& socket : sockets_) {
    const int flags = ::fcntl(socket.get(), F_GETFL);
    if (flags < 0 || ::fcntl(socket.get(), F_SETFL, flags | O_NONBLOCK) < 0) {
      fail_system("a socket to another rank", errno);
    }
  }
}

Rank Star::peer(std::size_t socket) const {
  return self() == Rank{0} ? Rank{static_cast<std::uint32_t>(socket) + 1} : Rank{0};
}

void Star::fail_gone(std::size_t socket) const {
  const Member& member = session_.members()[index(peer(socket))];
  fail(ErrorKind::remote, "rank {} (pid {} on {}) is gone", index(member.rank), member.pid,
       member.host);
}

void Star::read_all(std::size_t socket, std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t got = ::recv(sockets_[socket].get(), bytes.data(), bytes.size(), 0);
    if (got > 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(got));
    } else if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
      wait_for(sockets_[socket].get(), POLLIN);
    } else {
      fail_gone(socket);
    }
  }
}

void Star::write_all(std::size_t socket, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::send(sockets_[socket].get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (put > 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(put));
    } else if (put < 0 && (errno == EAGAIN || errno == EINTR)) {
      wait_for(sockets_[socket].get(), POLLOUT);
    } else {
      fail_gone(socket);
    }
  }
}

void Star::broadcast(std::span<std::byte> bytes) {
  if (self() != Rank{0}) return read_all(0, bytes);
  for (std::size_t socket = 0; socket < sockets_.size(); ++socket) write_all(socket, bytes);
}

std::vector<std::vector<std::byte>> Star::gather(std::span<const std::byte> mine) {
  std::uint64_t bytes = mine.size();
  if (self() != Rank{0}) {
    write_all(0, std::as_bytes(std::span(&bytes, 1)));
    write_all(0, mine);
    return {};
  }
  std::vector<std::vector<std::byte>> all{{mine.begin(), mine.end()}};
  for (std::size_t socket = 0; socket < sockets_.size(); ++socket) {
    read_all(socket, std::as_writable_bytes(std::span(&bytes, 1)));
    all.emplace_back(bytes);
    read_all(socket, all.back());
  }
  return all;
}

}  // namespace accl::perf
