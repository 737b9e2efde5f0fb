// address.h - where a socket listens: IPv4, IPv6, or an abstract unix name; and opening sockets
// there. Every socket made here is close-on-exec and non-blocking.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "accl/base/fd.h"
#include "accl/bootstrap/wire.h"

namespace accl::bootstrap {

class Address {
 public:
  Address() = default;
  Address(const sockaddr* address, socklen_t bytes);

  // A name in the abstract namespace of unix sockets: no file, gone with its socket.
  static Address abstract_unix(std::string_view name);
  static Address any(int family);  // 0.0.0.0 or ::, port 0.

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t bytes() const { return bytes_; }
  int family() const { return storage_.ss_family; }
  std::uint16_t port() const;
  void set_port(std::uint16_t port);
  bool is_loopback() const;
  bool is_link_local() const;

  // "192.0.2.1:80", "[::1]:80", "unix socket name".
  std::string text() const;
  std::string host_text() const;  // "192.0.2.1", "::1"; of the internet families only.

  void write(Writer& writer) const;  // Of the internet families only.
  static std::optional<Address> read(Reader& reader);

 private:
  sockaddr_storage storage_{};
  socklen_t bytes_ = 0;
};

// AF_INET or AF_INET6 as ACCL_SOCKET_FAMILY says, AF_UNSPEC where it is unset. Throws Error for
// another word.
int wanted_family();

struct HostPort {
  std::string host;
  std::uint16_t port = 0;
};

// "host:port" and "[ipv6]:port". Throws Error(invalid_argument) that names `what` and the text.
HostPort parse_host_port(const std::string& text, std::string_view what);

bool is_numeric_host(const std::string& host);

// The first address of a host, of the family that ACCL_SOCKET_FAMILY wants. Throws Error that names
// the host and the resolver's reason.
Address resolve(const HostPort& place, std::string_view what);

// Listens at `address` (port 0: any free one). Throws Error(system) that names the address; its
// text says what to do about a port in use. IPv6's any-address takes IPv4 callers too.
Fd listen_at(const Address& address);

Address local_address(int socket);
Address peer_address(int socket);

// Begins to connect. An empty Fd and errno where it failed at once; otherwise connected, or still
// connecting (poll for output, then connect_error). The socket has `from` for its own address (its
// port does not matter), or where that is null the one that the routes prefer.
Fd start_connect(const Address& address, const Address* from = nullptr);
int connect_error(int socket);

// No delay; and `watched`, for the few connections by which ranks watch each other, probes that
// notice a host that vanished and a bound on how long sent bytes may stay unacknowledged. Those
// that carry data get neither: they stop reading at times, and thousands of them that probe at the
// same moment overflow the host's queue, so that good ones are taken for dead. Unix sockets need
// none of it.
void tune_socket(int socket, bool watched);

void set_blocking(int socket);

}  // namespace accl::bootstrap
