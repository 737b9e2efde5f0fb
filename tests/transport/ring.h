// ring.h - places in a ring by the rule of transport.h, as plainly as it can be written. On purpose
// not accl/lane.h: the suite must not share a mistake with what it tests.
#pragma once

#include "transport/transport.h"

namespace accl::test {

struct Place {
  std::uint32_t offset = 0;  // Bytes.
  std::uint32_t until = 0;   // Position behind the message.
};

class Ring {
 public:
  explicit Ring(std::uint32_t ring_bytes) : ring_bytes_(ring_bytes) {}

  // Where the next message lies if it has this many payload bytes.
  Place next(std::uint32_t bytes) const {
    const std::uint32_t whole = units_of(bytes) * ring_unit_bytes;
    if (offset_ + whole <= ring_bytes_) return {offset_, position_ + units_of(bytes)};
    const std::uint32_t skipped = (ring_bytes_ - offset_) / ring_unit_bytes;
    return {0, position_ + skipped + units_of(bytes)};
  }
  void take(std::uint32_t bytes) {
    const Place place = next(bytes);
    offset_ = place.offset + units_of(bytes) * ring_unit_bytes;
    position_ = place.until;
  }
  std::uint32_t position() const { return position_; }
  std::uint32_t units() const { return ring_bytes_ / ring_unit_bytes; }

  static std::uint32_t units_of(std::uint32_t bytes) {
    return (payload_offset(bytes) + bytes + ring_unit_bytes - 1) / ring_unit_bytes;
  }
  static std::uint32_t largest_bytes(std::uint32_t ring_bytes) {
    return ring_bytes / 8 * 3 - ring_unit_bytes;
  }

 private:
  std::uint32_t ring_bytes_;
  std::uint32_t position_ = 0;
  std::uint32_t offset_ = 0;
};

// Whether a counter has come to this position.
inline bool reached(const std::atomic<std::uint32_t>* counter, std::uint32_t position) {
  return static_cast<std::int32_t>(counter->load(std::memory_order_acquire) - position) >= 0;
}

}  // namespace accl::test
