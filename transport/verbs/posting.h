// posting.h - how requests get to a device. An ibv_send_wr says what a request is; there are two
// ways to hand a chain of them over: ibv_post_send, which every device has, and the calls ibv_wr_*,
// by which a driver writes requests straight into the queue, with fewer branches.
#pragma once

#include "transport/verbs/port.h"

namespace accl::verbs {

// Pieces of local memory of one write.
constexpr std::uint32_t most_gathered = 2;

struct Pair {
  Owned<ibv_qp> queues;
  ibv_qp_ex* extended = nullptr;  // The same, where it takes requests by ibv_wr_*.
};

// Sets `wanted.cap` to what the device gives. Null, and errno, where it refuses. A device that has
// no ibv_wr_* gets a queue pair without, unless the user forces them; the port remembers it.
Pair create_pair(const Port& port, ibv_qp_init_attr& wanted);

// What create_pair leaves in errno where a device does not know what it was asked for.
bool is_unsupported(int error);

// The whole chain in one call of the driver. Gives errno; then the first of them may have been
// posted, by ibv_post_send, or none. Known: send with immediate, write, write with immediate; what
// is inline has one piece.
int post(const Pair& pair, ibv_send_wr& first);

}  // namespace accl::verbs
