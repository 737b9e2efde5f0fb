// greeting.h - what two ranks tell each other before anything else on a connection of their own,
// and what each makes of it. Numbers are in the order of the machine: a peer of another order is
// found by the magic.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "transport/transport.h"

namespace accl {

constexpr std::uint32_t max_lanes = 64;  // Lanes fit in a bit mask.
constexpr std::uint32_t max_ring_bytes = 1 << 30;

struct Greeting {
  std::uint64_t magic = 0;    // Of the transport.
  std::uint32_t version = 3;  // Raised with what travels, and with where in a ring it lies.
  std::uint32_t lanes = 0;
  std::uint32_t ring_bytes = 0;
  std::uint32_t reserved = 0;
};
static_assert(sizeof(Greeting) == 24);

Greeting greeting_of(std::uint64_t magic, const Geometry& geometry);

// What is wrong with the greeting that `peer` sent where we sent `ours`; empty: nothing.
std::string complaint(std::string_view transport, const Greeting& theirs, const Greeting& ours,
                      Rank peer);

// Throws Error(invalid_argument) where lanes or ring_bytes are out of bounds.
void check_geometry(std::string_view transport, const Geometry& geometry);

}  // namespace accl
