// traffic.h - the messages of a plan, round by round. A message belongs to round k when the longest
// chain of messages it had to wait for is k long, its sender working through its list in order. Of
// an exchange algorithm these are its steps.
#pragma once

#include <cstdint>
#include <vector>

#include "algorithms/catalog.h"

namespace accl::topology {

struct Message {
  Position from{};
  Position to{};
  std::uint32_t chunks = 0;

  friend bool operator==(const Message&, const Message&) = default;
};

struct Round {
  std::vector<Message> messages;  // By sender.
  std::uint32_t repeats = 1;      // So many rounds behind each other are the same.
};

struct Traffic {
  std::uint32_t positions = 0;
  std::uint32_t chunks = 0;  // In the whole vector.
  std::vector<Round> rounds;

  std::uint32_t round_count() const;    // With repeats.
  std::uint64_t message_count() const;  // Likewise.
};

// Throws Error(invalid_argument) for a plan of more messages than can be held (max_messages).
constexpr std::uint64_t max_messages = 64u << 20;
Traffic traffic_of(const Algorithm& algorithm, const Shape& shape);

}  // namespace accl::topology
