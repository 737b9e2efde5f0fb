// runs.h - constants shared by the two halves of the executor: computing and sending.
#pragma once

#include <cstddef>
#include <cstdint>

#include "accl/straight.h"
#include "transport/transport.h"

namespace accl {

// Head::flags: the payload is a Locator, the data lies in the sender's own memory. The message
// still takes the place of the data in the ring, because only the sender knows which it will be.
constexpr std::uint32_t located_flag = 1;

struct Locator {
  RegionKey key;
  std::uint64_t offset = 0;
};

// Peers look at larger messages only. Up to here copying is cheap; and a rank that runs a call
// straight takes what it receives for data, never for a Locator, and receives nothing larger.
constexpr std::uint32_t viewed_above_bytes = straight_bytes;
// Below this, a message is copied out of the ring rather than received in place.
constexpr std::uint32_t direct_bytes = 4096;
// Runs of memory that a push transport is given at once; beyond, the message is packed first.
constexpr std::size_t most_pieces = 16;

}  // namespace accl
