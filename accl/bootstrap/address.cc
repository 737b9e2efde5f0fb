#include "accl/bootstrap/address.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>

#include <charconv>
#include <cstddef>
#include <cstring>
#include <memory>

#include "accl/base/assert.h"
#include "accl/base/error.h"
#include "accl/base/units.h"

namespace accl::bootstrap {
namespace {

constexpr int backlog = 4096;  // The kernel cuts it to net.core.somaxconn.

struct FreeAddresses {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};
using AddressList = std::unique_ptr<addrinfo, FreeAddresses>;

const sockaddr_in& as_v4(const sockaddr_storage& storage) {
  return reinterpret_cast<const sockaddr_in&>(storage);
}

const sockaddr_in6& as_v6(const sockaddr_storage& storage) {
  return reinterpret_cast<const sockaddr_in6&>(storage);
}

void set_option(int socket, int level, int option, int value) {
  // A kernel without one of these is no reason to stop.
  static_cast<void>(setsockopt(socket, level, option, &value, sizeof value));
}

// The port is chosen when the socket connects: then it need not be free towards everybody.
bool bind_host(int socket, Address address) {
  address.set_port(0);
  set_option(socket, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
  return bind(socket, address.get(), address.bytes()) == 0;
}

}  // namespace

Address::Address(const sockaddr* address, socklen_t bytes) : bytes_(bytes) {
  ACCL_ASSERT(bytes <= sizeof storage_, bytes);
  std::memcpy(&storage_, address, bytes);
}

Address Address::abstract_unix(std::string_view name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ACCL_ASSERT(name.size() + 1 < sizeof address.sun_path, name.size());
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  const std::size_t bytes = offsetof(sockaddr_un, sun_path) + 1 + name.size();
  return Address(reinterpret_cast<const sockaddr*>(&address), static_cast<socklen_t>(bytes));
}

Address Address::any(int family) {
  Address address;
  address.storage_.ss_family = static_cast<sa_family_t>(family);
  address.bytes_ = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  return address;
}

std::uint16_t Address::port() const {
  if (family() == AF_INET) return ntohs(as_v4(storage_).sin_port);
  return family() == AF_INET6 ? ntohs(as_v6(storage_).sin6_port) : 0;
}

void Address::set_port(std::uint16_t port) {
  if (family() == AF_INET) reinterpret_cast<sockaddr_in&>(storage_).sin_port = htons(port);
  if (family() == AF_INET6) reinterpret_cast<sockaddr_in6&>(storage_).sin6_port = htons(port);
}

bool Address::is_loopback() const {
  if (family() == AF_INET) return ntohl(as_v4(storage_).sin_addr.s_addr) >> 24 == 127;
  return family() == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&as_v6(storage_).sin6_addr);
}

bool Address::is_link_local() const {
  return family() == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&as_v6(storage_).sin6_addr);
}

std::string Address::text() const {
  if (family() == AF_UNIX) {
    const auto& address = reinterpret_cast<const sockaddr_un&>(storage_);
    const std::size_t name_at = offsetof(sockaddr_un, sun_path) + 1;
    if (bytes_ <= name_at) return "a unix socket";
    return "unix socket " + std::string(address.sun_path + 1, bytes_ - name_at);
  }
  const char* const form = family() == AF_INET6 ? "[{}]:{}" : "{}:{}";
  return fmt::format(fmt::runtime(form), host_text(), port());
}

std::string Address::host_text() const {
  char host[NI_MAXHOST] = "?";
  static_cast<void>(getnameinfo(get(), bytes_, host, sizeof host, nullptr, 0, NI_NUMERICHOST));
  return host;
}

void Address::write(Writer& writer) const {
  ACCL_ASSERT(family() == AF_INET || family() == AF_INET6, family());
  const bool v6 = family() == AF_INET6;
  char host[16] = {};
  if (v6) std::memcpy(host, &as_v6(storage_).sin6_addr, 16);
  if (!v6) std::memcpy(host, &as_v4(storage_).sin_addr, 4);
  writer.number(static_cast<std::uint8_t>(v6 ? 6 : 4)).number(port()).raw({host, sizeof host});
  writer.number(v6 ? static_cast<std::uint32_t>(as_v6(storage_).sin6_scope_id) : 0u);
}

std::optional<Address> Address::read(Reader& reader) {
  const auto version = reader.number<std::uint8_t>();
  const auto port = reader.number<std::uint16_t>();
  const std::string_view host = reader.raw(16);
  const auto scope = reader.number<std::uint32_t>();
  if (!reader.good() || (version != 4 && version != 6)) return std::nullopt;
  Address address = any(version == 4 ? AF_INET : AF_INET6);
  if (version == 4) {
    std::memcpy(&reinterpret_cast<sockaddr_in&>(address.storage_).sin_addr, host.data(), 4);
  } else {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(address.storage_);
    std::memcpy(&v6.sin6_addr, host.data(), 16);
    v6.sin6_scope_id = scope;
  }
  address.set_port(port);
  return address;
}

int wanted_family() {
  const std::string word = environment_text("ACCL_SOCKET_FAMILY");
  if (word.empty()) return AF_UNSPEC;
  if (word == "AF_INET") return AF_INET;
  if (word == "AF_INET6") return AF_INET6;
  fail(ErrorKind::invalid_argument,
       "ACCL_SOCKET_FAMILY='{}': set it to AF_INET or AF_INET6, or "
       "unset it",
       word);
}

HostPort parse_host_port(const std::string& text, std::string_view what) {
  const std::size_t colon = text.rfind(':');
  HostPort place;
  std::string digits;
  if (colon != std::string::npos) {
    place.host = text.substr(0, colon);
    digits = text.substr(colon + 1);
  }
  const bool bracketed =
      place.host.size() > 2 && place.host.front() == '[' && place.host.back() == ']';
  if (bracketed) place.host = place.host.substr(1, place.host.size() - 2);
  const bool bare_v6 = !bracketed && place.host.find(':') != std::string::npos;
  const char* const end = digits.data() + digits.size();
  const auto [stop, problem] = std::from_chars(digits.data(), end, place.port);
  if (place.host.empty() || bare_v6 || problem != std::errc{} || stop != end || place.port == 0) {
    fail(ErrorKind::invalid_argument,
         "{} '{}': write it as host:port or [ipv6]:port, the port from 1 to 65535", what, text);
  }
  return place;
}

bool is_numeric_host(const std::string& host) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST;
  addrinfo* found = nullptr;
  const bool numeric = getaddrinfo(host.c_str(), nullptr, &hints, &found) == 0;
  const AddressList owner(found);
  return numeric;
}

Address resolve(const HostPort& place, std::string_view what) {
  addrinfo hints{};
  hints.ai_family = is_numeric_host(place.host) ? AF_UNSPEC : wanted_family();
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int problem = getaddrinfo(place.host.c_str(), nullptr, &hints, &found);
  const AddressList owner(found);
  if (problem != 0) {
    fail(ErrorKind::invalid_argument,
         "{}: host '{}' has no address here ({}); name a host that "
         "every rank can resolve, or its number",
         what, place.host, gai_strerror(problem));
  }
  Address address(found->ai_addr, found->ai_addrlen);
  address.set_port(place.port);
  return address;
}

Fd listen_at(const Address& address) {
  Fd socket(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) fail_system("cannot make a socket for " + address.text(), errno);
  if (address.family() != AF_UNIX) set_option(socket.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (address.family() == AF_INET6) set_option(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, 0);
  const bool bound = bind(socket.get(), address.get(), address.bytes()) == 0;
  if (bound && listen(socket.get(), backlog) == 0) return socket;
  const int error = errno;
  const char* advice = "";
  if (error == EADDRINUSE) advice = " (another process has this port: choose another one)";
  if (error == EADDRNOTAVAIL) advice = " (it is no address of this host: rank 0 must run there)";
  fail_system("cannot listen at " + address.text() + advice, error);
}

Address local_address(int socket) {
  sockaddr_storage storage{};
  socklen_t bytes = sizeof storage;
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&storage), &bytes) != 0) return {};
  return Address(reinterpret_cast<const sockaddr*>(&storage), bytes);
}

Address peer_address(int socket) {
  sockaddr_storage storage{};
  socklen_t bytes = sizeof storage;
  if (getpeername(socket, reinterpret_cast<sockaddr*>(&storage), &bytes) != 0) return {};
  return Address(reinterpret_cast<const sockaddr*>(&storage), bytes);
}

Fd start_connect(const Address& address, const Address* from) {
  Fd socket(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return socket;
  const bool bound = from == nullptr || bind_host(socket.get(), *from);
  if (bound && connect(socket.get(), address.get(), address.bytes()) == 0) return socket;
  if (bound && (errno == EINPROGRESS || errno == EINTR)) return socket;
  const int error = errno;
  socket.reset();
  errno = error;
  return socket;
}

int connect_error(int socket) {
  int error = 0;
  socklen_t bytes = sizeof error;
  if (getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &bytes) != 0) return errno;
  return error;
}

void tune_socket(int socket, bool watched) {
  if (local_address(socket).family() == AF_UNIX) return;
  set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  if (!watched) return;
  set_option(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(socket, IPPROTO_TCP, TCP_KEEPIDLE, 10);
  set_option(socket, IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set_option(socket, IPPROTO_TCP, TCP_KEEPCNT, 3);
  set_option(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, 20000);
}

void set_blocking(int socket) {
  const int flags = fcntl(socket, F_GETFL);
  if (flags >= 0) static_cast<void>(fcntl(socket, F_SETFL, flags & ~O_NONBLOCK));
}

}  // namespace accl::bootstrap
