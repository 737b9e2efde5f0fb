// greeting.h - what two shm endpoints tell each other once, over a unix socket: their geometry, and
// the descriptors of the sender's segment and of its wake-up event.
#pragma once

#include <cstdint>

#include "accl/base/clock.h"
#include "accl/base/fd.h"
#include "accl/base/ids.h"
#include "transport/transport.h"

namespace accl {

struct ShmGreeting {
  std::uint64_t magic = 0x324d48534c434341;  // "ACCLSHM2"
  std::uint32_t lanes = 0;
  std::uint32_t ring_bytes = 0;
  std::uint32_t can_fence = 0;  // See barrier.h.
  std::uint32_t reserved = 0;
  RegionKey own_key;  // Of the segment that travels along: the peer tries whether it can map it so.
};

struct ReceivedGreeting {
  ShmGreeting greeting;
  Fd segment, event;
};

// Throws Error(system) where the socket carries no descriptors (it must be of unix domain).
void send_greeting(int socket, Rank peer, const ShmGreeting& greeting, int segment, int event);

// Throws Error(remote) naming the peer when it is gone, Error(timeout) when nothing came.
ReceivedGreeting receive_greeting(int socket, Rank peer, const Deadline& deadline);

}  // namespace accl
