// address.h - IPv4 and IPv6 addresses: they sort as people count them, IPv4 first.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>

namespace accl::topology {

// IPv4 in its mapped form, as in the GID of a RoCE port: 10.0.0.1 is ::ffff:10.0.0.1.
struct Address {
  std::array<std::uint8_t, 16> bytes{};

  bool is_ipv4() const;
  bool is_link_local() const;  // Of one link only: not known beyond it.
  auto operator<=>(const Address&) const = default;
};

std::optional<Address> parse_address(const std::string& text);
std::string text_of(const Address& address);

}  // namespace accl::topology
