// words.h - what the verbs transport says to a peer. Over the meeting socket, each way: an Opening,
// then Notes: ready once its queues can receive; restart and ready again where queues had to be
// replaced; at the end farewell, or failure and why. Over RDMA: writes into the peer's inbox whose
// immediate value is a Saying; writes of grants into the peer's mailbox; and, where no message goes
// that way, empty sends whose immediate value is the position that their sender is done with.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "transport/greeting.h"
#include "transport/transport.h"
#include "transport/verbs/port.h"

namespace accl::verbs {

constexpr std::uint64_t greeting_magic = 0x4143'434C'7662'3321;  // "ACCLvb3!"

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

// What the immediate value of a message says.
struct Saying {
  std::uint32_t until = 0;  // The position behind it.
  std::uint32_t freed = 0;  // The other way: what its sender is done with.
  bool is_placed = false;   // The payload lies where it was granted a place.
};

// Both positions are at most a ring ahead of what the receiver knows, so some bits of each do. From
// rings of 2 MiB on only the first has room. A farewell, by another way, may have told the second
// already.
class Immediates {
 public:
  explicit constexpr Immediates(std::uint32_t ring_bytes)
      : units_(ring_bytes / ring_unit_bytes),
        bits_(static_cast<std::uint32_t>(std::bit_width(units_))),
        mask_((1U << bits_) - 1) {}

  constexpr bool tells_freed() const { return 2 * bits_ < 32; }
  constexpr std::uint32_t pack(const Saying& saying) const {
    const std::uint32_t freed = tells_freed() ? (saying.freed & mask_) << bits_ : 0;
    return (saying.until & mask_) | freed | (saying.is_placed ? placed : 0);
  }
  // `arrived` and `freed`: of the last that came.
  constexpr Saying unpack(std::uint32_t value, std::uint32_t arrived, std::uint32_t freed) const {
    const std::uint32_t more = tells_freed() ? ((value >> bits_) - freed) & mask_ : 0;
    return {.until = arrived + ((value - arrived) & mask_),
            .freed = more <= units_ ? freed + more : freed,
            .is_placed = (value & placed) != 0};
  }

 private:
  static constexpr std::uint32_t placed = 1U << 31;

  std::uint32_t units_, bits_, mask_;
};

enum class NoteKind : std::uint32_t { ready, restart, farewell, failure };

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
  std::array<char, 512> reason{};  // Of a failure; its last is 0.
  std::array<LaneState, max_lanes> lanes{};
};
static_assert(sizeof(Note) == 536 + max_lanes * sizeof(LaneState));  // Else: another magic.

}  // namespace accl::verbs
