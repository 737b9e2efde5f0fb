// address.h - IPv4 addresses as numbers: they sort as people count them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace accl::topology {

enum class Ipv4 : std::uint32_t {};  // 10.0.0.1 is 0x0A000001.

std::optional<Ipv4> parse_ipv4(const std::string& text);
std::string text_of(Ipv4 address);

}  // namespace accl::topology
