#include "topology/probing/udp_wire.h"

#include <arpa/inet.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>

#include "accl/base/error.h"

namespace accl::topology {
namespace {

// Prime to the number of labels, so that all of them come up, in every bit different ones: hashes
// that look at some bits only see them differ.
constexpr std::uint32_t label_stride = 5003;
constexpr std::uint32_t most_taken = 1024;  // Ports in use that are passed over.
// A socket gives an error of an earlier probe once, in place of sending.
constexpr int most_sends = 16;

// What a probe carries: its TTL, twice. Shorter than RoCE's header, so no NIC takes it for RoCE.
using Payload = std::array<std::uint8_t, 2>;

Payload payload_of(std::uint8_t ttl) { return {ttl, static_cast<std::uint8_t>(~ttl)}; }

sockaddr_in name_of(Ipv4 address, std::uint16_t port) {
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_port = htons(port);
  name.sin_addr.s_addr = htonl(static_cast<std::uint32_t>(address));
  return name;
}

Ipv4 address_of(const sockaddr_in& name) { return Ipv4{ntohl(name.sin_addr.s_addr)}; }

// An ICMP error: who sends it, and what of.
struct Said {
  sock_extended_err error;
  sockaddr_in by;

  bool is_expired() const { return error.ee_type == ICMP_TIME_EXCEEDED; }
  bool has_no_way() const {
    const int code = error.ee_code;
    const bool is_told = code == ICMP_NET_UNREACH || code == ICMP_HOST_UNREACH ||
                         code == ICMP_NET_UNKNOWN || code == ICMP_HOST_UNKNOWN;
    return error.ee_type == ICMP_DEST_UNREACH && is_told;
  }
};

// None where this host made it.
std::optional<Said> said_in(const msghdr& message) {
  for (const cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
       part = CMSG_NXTHDR(const_cast<msghdr*>(&message), const_cast<cmsghdr*>(part))) {
    if (part->cmsg_level != IPPROTO_IP || part->cmsg_type != IP_RECVERR) continue;
    Said said{};
    const std::size_t bytes = part->cmsg_len - CMSG_LEN(0);
    std::memcpy(&said, CMSG_DATA(part), std::min(bytes, sizeof said));
    if (said.error.ee_origin == SO_EE_ORIGIN_ICMP) return said;
  }
  return std::nullopt;
}

msghdr message_of(sockaddr_in& name, iovec& piece, std::span<std::byte> control) {
  msghdr message{};
  message.msg_name = &name;
  message.msg_namelen = sizeof name;
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  return message;
}

}  // namespace

UdpWire::UdpWire(Ipv4 from, std::uint32_t label_count)
    : from_(from), ready_(::epoll_create1(EPOLL_CLOEXEC)) {
  if (!ready_) fail_system("cannot make a descriptor", errno);
  const std::uint32_t most_tries = std::min<std::uint32_t>(label_count + most_taken, most_label);
  for (std::uint32_t i = 0; i < most_tries && labels_.size() < label_count; ++i) {
    const auto label = static_cast<std::uint16_t>(1 + i * label_stride % most_label);
    Fd socket = open(label);
    if (!socket) continue;
    epoll_event event{};  // Errors are always told.
    event.data.u64 = labels_.size();
    if (::epoll_ctl(ready_.get(), EPOLL_CTL_ADD, socket.get(), &event) != 0) {
      fail_system("cannot watch a socket", errno);
    }
    labels_.push_back(label);
    sockets_.push_back(std::move(socket));
  }
  if (!labels_.empty()) return;
  fail(ErrorKind::system, "no port of {} above {} is free; who holds them all? (ss -u -a)",
       text_of(from_), first_label_port);
}

// No socket where the port is in use.
Fd UdpWire::open(std::uint16_t label) const {
  Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) {
    fail_system("cannot open a socket for every label; give fewer --labels, or raise ulimit -n",
                errno);
  }
  const sockaddr_in name = name_of(from_, static_cast<std::uint16_t>(first_label_port + label));
  const int on = 1;
  ::setsockopt(socket.get(), IPPROTO_IP, IP_RECVERR, &on, sizeof on);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0) {
    return socket;
  }
  if (errno == EADDRINUSE) return Fd();
  if (errno == EADDRNOTAVAIL) {
    fail(ErrorKind::invalid_argument,
         "{} is no address of this host; probes start at one of its own (ip -brief address)",
         text_of(from_));
  }
  fail_system("cannot use a port of " + text_of(from_), errno);
}

void UdpWire::send(const Probe& probe) {
  const auto found = std::ranges::find(labels_, probe.label);
  const int socket = sockets_[static_cast<std::size_t>(found - labels_.begin())].get();
  sockaddr_in name = name_of(probe.to, probe.port);
  Payload payload = payload_of(probe.ttl);
  iovec piece{payload.data(), payload.size()};
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> room{};
  msghdr message = message_of(name, piece, room);
  cmsghdr* const part = CMSG_FIRSTHDR(&message);
  part->cmsg_level = IPPROTO_IP;
  part->cmsg_type = IP_TTL;
  part->cmsg_len = CMSG_LEN(sizeof(int));
  const int ttl = probe.ttl;
  std::memcpy(CMSG_DATA(part), &ttl, sizeof ttl);
  for (int i = 0; i < most_sends; ++i) {
    if (::sendmsg(socket, &message, 0) >= 0) return;
    if (errno == EAGAIN || errno == ENOBUFS) return;  // As good as lost.
  }
  fail_system(fmt::format("cannot send from {} to {}", text_of(from_), text_of(probe.to)), errno);
}

std::optional<Answer> UdpWire::receive(Clock::time_point until) {
  for (;;) {
    const auto left = std::chrono::ceil<Milliseconds>(until - Clock::now()).count();
    epoll_event event{};
    const int count = ::epoll_wait(ready_.get(), &event, 1, static_cast<int>(std::max(left, 0L)));
    if (count <= 0 && Clock::now() >= until) return std::nullopt;
    if (count <= 0) continue;
    if (auto answer = read(event.data.u64)) return answer;
  }
}

std::optional<Answer> UdpWire::read(std::size_t number) {
  const int socket = sockets_[number].get();
  sockaddr_in to{};
  Payload payload{};
  iovec piece{payload.data(), payload.size()};
  alignas(cmsghdr) std::array<std::byte, 512> room{};
  msghdr message = message_of(to, piece, room);
  const ssize_t bytes = ::recvmsg(socket, &message, MSG_ERRQUEUE | MSG_DONTWAIT);
  if (bytes < 0) {  // An error whose words were dropped: asking forgets it.
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size);
    return std::nullopt;
  }
  const std::optional<Said> said = said_in(message);
  if (!said || address_of(said->by) == from_) return std::nullopt;
  const Ipv4 by = address_of(said->by);
  const bool has_no_way = by != address_of(to) && said->has_no_way();
  if (by != address_of(to) && !said->is_expired() && !has_no_way) return std::nullopt;  // A filter.
  const bool is_quoted = bytes == sizeof payload && payload == payload_of(payload[0]);
  return Answer{.by = by,
                .to = address_of(to),
                .port = ntohs(to.sin_port),
                .label = labels_[number],
                .ttl = is_quoted ? payload[0] : std::uint8_t{0},
                .has_no_way = has_no_way};
}

}  // namespace accl::topology
