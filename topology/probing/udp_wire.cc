#include "topology/probing/udp_wire.h"

#include <arpa/inet.h>
#include <linux/errqueue.h>
#include <linux/in6.h>
#include <netinet/icmp6.h>
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

// What IPv4 and IPv6 have each of their own.
struct Protocol {
  int family, level;
  int errors, hop_limit;    // Options.
  std::uint8_t origin;      // Of an error that another host made: sock_extended_err.
  std::uint8_t is_expired;  // ICMP types.
  std::uint8_t is_unreachable;
  std::array<std::uint8_t, 4> no_way;  // Codes of the second: a router knows none.
};
constexpr Protocol ipv4{
    AF_INET,           IPPROTO_IP,
    IP_RECVERR,        IP_TTL,
    SO_EE_ORIGIN_ICMP, ICMP_TIME_EXCEEDED,
    ICMP_DEST_UNREACH, {ICMP_NET_UNREACH, ICMP_HOST_UNREACH, ICMP_NET_UNKNOWN, ICMP_HOST_UNKNOWN}};
constexpr std::uint8_t reject_route = 6;  // RFC 4443; the header has no name for it.
constexpr Protocol ipv6{
    AF_INET6,
    IPPROTO_IPV6,
    IPV6_RECVERR,
    IPV6_HOPLIMIT,
    SO_EE_ORIGIN_ICMP6,
    ICMP6_TIME_EXCEEDED,
    ICMP6_DST_UNREACH,
    {ICMP6_DST_UNREACH_NOROUTE, ICMP6_DST_UNREACH_ADDR, reject_route, reject_route}};

const Protocol& protocol_of(const Address& address) { return address.is_ipv4() ? ipv4 : ipv6; }

// An address and a port, and for IPv6 the flow label of what is sent there.
union Name {
  sockaddr any;
  sockaddr_in v4;
  sockaddr_in6 v6;

  Name() : v6{} {}
  Name(const Address& address, std::uint16_t port, std::uint16_t label) : v6{} {
    if (address.is_ipv4()) {
      v4 = {};
      v4.sin_family = AF_INET;
      v4.sin_port = htons(port);
      std::memcpy(&v4.sin_addr, &address.bytes[12], sizeof v4.sin_addr);
      return;
    }
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    v6.sin6_flowinfo = htonl(label);
    std::memcpy(&v6.sin6_addr, address.bytes.data(), sizeof v6.sin6_addr);
  }

  socklen_t size() const { return any.sa_family == AF_INET ? sizeof v4 : sizeof v6; }
  std::uint16_t port() const {
    return ntohs(any.sa_family == AF_INET ? v4.sin_port : v6.sin6_port);
  }
  Address address() const {
    Address address;
    if (any.sa_family == AF_INET) {
      address.bytes[10] = address.bytes[11] = 0xFF;
      std::memcpy(&address.bytes[12], &v4.sin_addr, sizeof v4.sin_addr);
    } else {
      std::memcpy(address.bytes.data(), &v6.sin6_addr, sizeof v6.sin6_addr);
    }
    return address;
  }
};

// An ICMP error: what of, and who sends it.
struct Said {
  sock_extended_err error;
  Name by;

  bool is_expired(const Protocol& protocol) const { return error.ee_type == protocol.is_expired; }
  bool has_no_way(const Protocol& protocol) const {
    return error.ee_type == protocol.is_unreachable &&
           std::ranges::count(protocol.no_way, error.ee_code) > 0;
  }
};

// None where this host made it.
std::optional<Said> said_in(const msghdr& message, const Protocol& protocol) {
  for (const cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
       part = CMSG_NXTHDR(const_cast<msghdr*>(&message), const_cast<cmsghdr*>(part))) {
    if (part->cmsg_level != protocol.level || part->cmsg_type != protocol.errors) continue;
    Said said{};
    const unsigned char* const at = CMSG_DATA(part);
    const std::size_t bytes = part->cmsg_len - CMSG_LEN(0);
    if (bytes < sizeof said.error) continue;
    std::memcpy(&said.error, at, sizeof said.error);
    std::memcpy(&said.by, at + sizeof said.error,
                std::min(bytes - sizeof said.error, sizeof said.by));
    if (said.error.ee_origin == protocol.origin) return said;
  }
  return std::nullopt;
}

msghdr message_of(Name& name, iovec& piece, std::span<std::byte> control) {
  msghdr message{};
  message.msg_name = &name;
  message.msg_namelen = name.any.sa_family == AF_UNSPEC ? sizeof name : name.size();
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  return message;
}

void set(int socket, int level, int option, int value) {
  ::setsockopt(socket, level, option, &value, sizeof value);
}

// Switches may hash the flow label of IPv6 in place of ports, so a probe has that of a queue pair,
// too. Anybody may send with any label, unless a program of this host holds one for itself alone:
// then every socket must ask for its own first, which anybody may, too. False: it was in vain.
bool ask_for_label(int socket, const Address& to, std::uint16_t label) {
  in6_flowlabel_req request{};
  std::memcpy(&request.flr_dst, to.bytes.data(), sizeof request.flr_dst);
  request.flr_label = htonl(label);
  request.flr_action = IPV6_FL_A_GET;
  request.flr_share = IPV6_FL_S_ANY;
  request.flr_flags = IPV6_FL_F_CREATE;
  return ::setsockopt(socket, IPPROTO_IPV6, IPV6_FLOWLABEL_MGR, &request, sizeof request) == 0;
}

}  // namespace

UdpWire::UdpWire(const Address& from, std::uint32_t label_count)
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
  const Protocol& protocol = protocol_of(from_);
  Fd socket(::socket(protocol.family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket && errno == EAFNOSUPPORT) {
    fail(ErrorKind::system, "this host has no IPv6, and --from {} is of it", text_of(from_));
  }
  if (!socket) {
    fail_system("cannot open a socket for every label; give fewer --labels, or raise ulimit -n",
                errno);
  }
  const Name name(from_, static_cast<std::uint16_t>(first_label_port + label), 0);
  set(socket.get(), protocol.level, protocol.errors, 1);
  if (protocol.family == AF_INET6) set(socket.get(), IPPROTO_IPV6, IPV6_FLOWINFO_SEND, 1);
  if (::bind(socket.get(), &name.any, name.size()) == 0) return socket;
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
  const Protocol& protocol = protocol_of(from_);
  Name name(probe.to, probe.port, probe.label);
  Payload payload = payload_of(probe.ttl);
  iovec piece{payload.data(), payload.size()};
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> room{};
  msghdr message = message_of(name, piece, room);
  cmsghdr* const part = CMSG_FIRSTHDR(&message);
  part->cmsg_level = protocol.level;
  part->cmsg_type = protocol.hop_limit;
  part->cmsg_len = CMSG_LEN(sizeof(int));
  const int ttl = probe.ttl;
  std::memcpy(CMSG_DATA(part), &ttl, sizeof ttl);
  for (int i = 0; i < most_sends; ++i) {
    if (::sendmsg(socket, &message, 0) >= 0) return;
    if (errno == EAGAIN || errno == ENOBUFS) return;  // As good as lost.
    if (errno != EINVAL || protocol.family != AF_INET6) continue;
    if (!ask_for_label(socket, probe.to, probe.label)) break;
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
  const Protocol& protocol = protocol_of(from_);
  Name name;
  Payload payload{};
  iovec piece{payload.data(), payload.size()};
  alignas(cmsghdr) std::array<std::byte, 512> room{};
  msghdr message = message_of(name, piece, room);
  const ssize_t bytes = ::recvmsg(socket, &message, MSG_ERRQUEUE | MSG_DONTWAIT);
  if (bytes < 0) {  // An error whose words were dropped: asking forgets it.
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size);
    return std::nullopt;
  }
  const std::optional<Said> said = said_in(message, protocol);
  if (!said || said->by.address() == from_) return std::nullopt;
  const Address to = name.address();
  const Address by = said->by.address();
  const bool has_no_way = by != to && said->has_no_way(protocol);
  if (by != to && !said->is_expired(protocol) && !has_no_way) return std::nullopt;  // A filter.
  const bool is_quoted = bytes == sizeof payload && payload == payload_of(payload[0]);
  return Answer{.by = by,
                .to = to,
                .port = name.port(),
                .label = labels_[number],
                .ttl = is_quoted ? payload[0] : std::uint8_t{0},
                .has_no_way = has_no_way};
}

}  // namespace accl::topology
