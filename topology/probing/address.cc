#include "topology/probing/address.h"

#include <arpa/inet.h>

#include <algorithm>

namespace accl::topology {
namespace {

constexpr std::array<std::uint8_t, 12> mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

}  // namespace

bool Address::is_ipv4() const { return std::equal(mapped.begin(), mapped.end(), bytes.begin()); }

bool Address::is_link_local() const { return bytes[0] == 0xFE && (bytes[1] & 0xC0) == 0x80; }

std::optional<Address> parse_address(const std::string& text) {
  Address address;
  if (::inet_pton(AF_INET6, text.c_str(), address.bytes.data()) == 1) return address;
  std::copy(mapped.begin(), mapped.end(), address.bytes.begin());
  if (::inet_pton(AF_INET, text.c_str(), &address.bytes[mapped.size()]) == 1) return address;
  return std::nullopt;
}

std::string text_of(const Address& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const bool is_ipv4 = address.is_ipv4();
  return ::inet_ntop(is_ipv4 ? AF_INET : AF_INET6, &address.bytes[is_ipv4 ? mapped.size() : 0],
                     text.data(), text.size());
}

}  // namespace accl::topology
