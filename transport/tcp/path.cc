#include "transport/tcp/path.h"

#include <fmt/format.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <memory>

namespace accl::tcp {
namespace {

struct FreeInterfaces {
  void operator()(ifaddrs* list) const { freeifaddrs(list); }
};

struct Place {
  std::string host, port;
  bool is_v6 = false;

  std::string text() const {
    return fmt::format(fmt::runtime(is_v6 ? "[{}]:{}" : "{}:{}"), host, port);
  }
};

// An empty host where the address is not of the internet.
Place place_of(const sockaddr* address) {
  Place place;
  const bool is_v4 = address->sa_family == AF_INET;
  place.is_v6 = address->sa_family == AF_INET6;
  if (!is_v4 && !place.is_v6) return place;
  char host[NI_MAXHOST] = "", port[NI_MAXSERV] = "";
  const socklen_t bytes = is_v4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  static_cast<void>(::getnameinfo(address, bytes, host, sizeof host, port, sizeof port,
                                  NI_NUMERICHOST | NI_NUMERICSERV));
  constexpr std::string_view mapped = "::ffff:";  // An IPv4 address in a socket of both families.
  place.host = host;
  place.port = port;
  if (place.host.starts_with(mapped) && place.host.find('.') != std::string::npos) {
    place.host.erase(0, mapped.size());
    place.is_v6 = false;
  }
  return place;
}

std::string interface_with(const std::string& host) {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return {};
  const std::unique_ptr<ifaddrs, FreeInterfaces> owner(list);
  for (const ifaddrs* at = list; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr != nullptr && place_of(at->ifa_addr).host == host) return at->ifa_name;
  }
  return {};
}

}  // namespace

std::string Paths::of(int socket) {
  sockaddr_storage ends[2] = {};
  socklen_t bytes[2] = {sizeof ends[0], sizeof ends[1]};
  auto* const here = reinterpret_cast<sockaddr*>(&ends[0]);
  auto* const there = reinterpret_cast<sockaddr*>(&ends[1]);
  if (::getsockname(socket, here, &bytes[0]) != 0) return {};
  if (::getpeername(socket, there, &bytes[1]) != 0) return {};
  const Place from = place_of(here);
  if (from.host.empty()) return {};
  const auto [known, is_new] = interfaces_.try_emplace(from.host);
  if (is_new) known->second = interface_with(from.host);
  const std::string on = known->second.empty() ? "" : " on " + known->second;
  return fmt::format("{}{} to {}", from.text(), on, place_of(there).text());
}

}  // namespace accl::tcp
