// words.h - what the verbs transport says to a peer. Over the meeting socket, each way: an Opening,
// then Notes: ready once its queues can receive; restart and ready again where queues had to be
// replaced; farewell at the end. Over RDMA: writes into the peer's inbox whose immediate value says
// the position behind the message, and whether its payload lies where the peer granted it a place;
// writes of such grants into the peer's mailbox; and empty sends whose immediate value is the
// position that the sender of this one is done with.
#pragma once

#include <array>
#include <cstdint>

#include "transport/greeting.h"
#include "transport/transport.h"
#include "transport/verbs/port.h"

namespace accl::verbs {

constexpr std::uint64_t greeting_magic = 0x4143'434C'7662'3221;  // "ACCLvb2!"

// How to reach the queue of a lane, and where its messages go.
struct LaneAddress {
  Gid gid{};
  std::uint64_t inbox = 0;    // Address of the ring, under `key`,
  std::uint64_t mailbox = 0;  // and of the slots for grants.
  std::uint32_t key = 0;
  std::uint32_t queue = 0;
  std::uint32_t first_packet = 0;
  std::uint16_t lid = 0;
  std::uint8_t mtu = 0;  // An ibv_mtu.
  std::uint8_t is_ethernet = 0;
};
static_assert(sizeof(LaneAddress) == 48, "it travels");

struct Opening {
  Greeting greeting{};
  std::array<LaneAddress, max_lanes> lanes{};
};

// A message is at most a ring behind the last one, so its position needs no more than these bits.
constexpr std::uint32_t position_bits = 0x7fff'ffff;
constexpr std::uint32_t immediate_of(std::uint32_t until, bool is_placed) {
  return (until & position_bits) | (is_placed ? ~position_bits : 0);
}
constexpr bool is_placed(std::uint32_t immediate) { return (immediate & ~position_bits) != 0; }
constexpr std::uint32_t position_of(std::uint32_t immediate, std::uint32_t last) {
  return last + ((immediate - last) & position_bits);
}

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
static_assert(sizeof(Note) == 24 + max_lanes * sizeof(LaneState));  // Else: another magic.

}  // namespace accl::verbs
