// mix.h - spreads the bits of a number (the finaliser of splitmix64), for tags and topics that must
// differ when what they are made from differs.
#pragma once

#include <cstdint>

namespace accl {

constexpr std::uint64_t mix(std::uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9;
  x ^= x >> 27;
  x *= 0x94d049bb133111eb;
  return x ^ x >> 31;
}

}  // namespace accl
