#include "topology/probing/address.h"

#include <arpa/inet.h>

#include <array>

namespace accl::topology {

std::optional<Ipv4> parse_ipv4(const std::string& text) {
  in_addr address{};
  if (::inet_pton(AF_INET, text.c_str(), &address) != 1) return std::nullopt;
  return Ipv4{ntohl(address.s_addr)};
}

std::string text_of(Ipv4 address) {
  std::array<char, INET_ADDRSTRLEN> text{};
  const in_addr number{.s_addr = htonl(static_cast<std::uint32_t>(address))};
  return ::inet_ntop(AF_INET, &number, text.data(), text.size());
}

}  // namespace accl::topology
