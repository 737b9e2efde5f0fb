// words.h - what the verbs transport says to a peer. Over the meeting socket, each way: an Opening,
// then Notes: ready once its queues can receive; restart and ready again where queues had to be
// replaced; farewell at the end. Over RDMA: writes into the peer's inbox whose immediate value is
// the position behind the message, and empty sends whose immediate value is the position that the
// sender of this one is done with.
#pragma once

#include <array>
#include <cstdint>

#include "transport/greeting.h"
#include "transport/transport.h"
#include "transport/verbs/port.h"

namespace accl::verbs {

constexpr std::uint64_t greeting_magic = 0x4143'434C'7662'7321;  // "ACCLvbs!"

// How to reach the queue of a lane, and where its messages go.
struct LaneAddress {
  Gid gid{};
  std::uint64_t inbox = 0;  // Address of the ring, under `key`.
  std::uint32_t key = 0;
  std::uint32_t queue = 0;
  std::uint32_t first_packet = 0;
  std::uint16_t lid = 0;
  std::uint8_t mtu = 0;  // An ibv_mtu.
  std::uint8_t is_ethernet = 0;
};
static_assert(sizeof(LaneAddress) == 40);

struct Opening {
  Greeting greeting{};
  std::array<LaneAddress, max_lanes> lanes{};
};

enum class NoteKind : std::uint32_t { ready, restart, farewell };

// Where a lane stands.
struct LaneState {
  std::uint32_t put_until = 0;  // The last message that its rank put ends here,
  std::uint32_t arrived = 0;    // the last that came to it here,
  std::uint32_t freed = 0;      // and with those it is done until here.
  std::uint32_t reserved = 0;
  LaneAddress address{};  // Of the new queue, in a restart.
};

struct Note {
  std::uint64_t magic = greeting_magic;
  NoteKind kind = NoteKind::ready;
  std::uint32_t epoch = 0;    // How often the queues were replaced.
  std::uint32_t is_move = 0;  // 1: this time only for other paths.
  std::uint32_t reserved = 0;
  std::array<LaneState, max_lanes> lanes{};
};

}  // namespace accl::verbs
