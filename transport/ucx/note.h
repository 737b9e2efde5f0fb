// note.h - what the ucx transport says to a peer. Over the meeting socket, each way: an Opening and
// the address of its UCX worker, Ready once UCX carries both ways, a Farewell at the end. Over UCX:
// notes, each the header of an active message whose payload is that of the message.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "transport/greeting.h"
#include "transport/transport.h"

namespace accl::ucx {

constexpr std::uint32_t max_address_bytes = 64 << 10;

constexpr std::uint64_t greeting_magic = 0x4143'434C'7563'7821;  // "ACCLucx!"

struct Opening {
  Greeting greeting{};
  std::uint32_t channel = 0;  // What the peer shall write into Note::channel.
  std::uint32_t address_bytes = 0;
};
static_assert(sizeof(Opening) == 32);

struct Ready {
  std::uint64_t magic = greeting_magic;
};

// Where a lane stood when its rank left. Who has all that was put may forget the peer at once.
struct LaneEnd {
  std::uint32_t put_until = 0;
  std::uint32_t freed = 0;
};
struct Farewell {
  std::uint64_t magic = greeting_magic;
  std::array<LaneEnd, max_lanes> lanes{};
};

enum class NoteKind : std::uint16_t { hello = 0x4E11, data = 0xDA7A, release = 0x5E1F };

struct Note {
  NoteKind kind = NoteKind::release;
  std::uint16_t lane = 0;
  std::uint32_t channel = 0;  // Of the receiver.
  std::uint32_t freed = 0;    // Of the other direction; every note of a lane tells it.
  // Data: the positions in front of and behind the message, so that a gap is seen, and its place.
  std::uint32_t from = 0;
  std::uint32_t until = 0;
  std::uint32_t offset = 0;
  Head head{};
};
static_assert(sizeof(Note) == 40);

}  // namespace accl::ucx
