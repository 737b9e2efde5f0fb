#include "transport/shm/greeting.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "accl/base/error.h"

namespace accl {
namespace {

constexpr std::size_t fd_count = 2;

// A message of one ShmGreeting with room for its descriptors.
struct Envelope {
  alignas(cmsghdr) char control[CMSG_SPACE(fd_count * sizeof(int))] = {};
  iovec body{};
  msghdr header{};

  explicit Envelope(void* greeting) {
    body = {greeting, sizeof(ShmGreeting)};
    header.msg_iov = &body;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
  }
};

void wait_readable(int socket, Rank peer, const Deadline& deadline) {
  pollfd wanted{.fd = socket, .events = POLLIN, .revents = 0};
  int ready = 0;
  do {
    ready = ::poll(&wanted, 1, deadline.left_ms());
  } while (ready < 0 && errno == EINTR);
  if (ready < 0) fail_system("waiting for a rank over shared memory", errno);
  if (ready == 0) {
    fail(ErrorKind::timeout, "rank {} did not finish opening shared memory in time", index(peer));
  }
}

[[noreturn]] void fail_closed(Rank peer) {
  fail(ErrorKind::remote, "rank {} closed its connection while opening shared memory", index(peer));
}

}  // namespace

void send_greeting(int socket, Rank peer, const ShmGreeting& greeting, int segment, int event) {
  ShmGreeting copy = greeting;
  Envelope envelope(&copy);
  cmsghdr* const rights = CMSG_FIRSTHDR(&envelope.header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
  const int fds[fd_count] = {segment, event};
  std::memcpy(CMSG_DATA(rights), fds, sizeof fds);
  if (::sendmsg(socket, &envelope.header, MSG_NOSIGNAL) != sizeof(ShmGreeting)) {
    if (errno == EPIPE || errno == ECONNRESET) fail_closed(peer);
    fail_system("passing shared memory to a rank of this host", errno);
  }
}

ReceivedGreeting receive_greeting(int socket, Rank peer, const Deadline& deadline) {
  wait_readable(socket, peer, deadline);
  ReceivedGreeting got;
  Envelope envelope(&got.greeting);
  const auto bytes = ::recvmsg(socket, &envelope.header, MSG_CMSG_CLOEXEC);
  const cmsghdr* const rights = bytes > 0 ? CMSG_FIRSTHDR(&envelope.header) : nullptr;
  if (rights != nullptr && rights->cmsg_type == SCM_RIGHTS &&
      rights->cmsg_len == CMSG_LEN(fd_count * sizeof(int))) {
    int fds[fd_count] = {-1, -1};
    std::memcpy(fds, CMSG_DATA(rights), sizeof fds);
    got.segment.reset(fds[0]);
    got.event.reset(fds[1]);
  }
  if (bytes <= 0) fail_closed(peer);
  if (bytes != sizeof(ShmGreeting) || got.greeting.magic != ShmGreeting{}.magic || !got.segment) {
    fail(ErrorKind::remote,
         "rank {} sent no shared memory greeting; do all ranks run the same "
         "version of ACCL?",
         index(peer));
  }
  return got;
}

}  // namespace accl
