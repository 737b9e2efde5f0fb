#include "transport/greeting.h"

#include "accl/base/error.h"

namespace accl {

Greeting greeting_of(std::uint64_t magic, const Geometry& geometry) {
  return {.magic = magic, .lanes = geometry.lanes, .ring_bytes = geometry.ring_bytes};
}

std::string complaint(std::string_view transport, const Greeting& theirs, const Greeting& ours,
                      Rank peer) {
  const std::uint32_t rank = index(peer);
  if (theirs.magic != ours.magic) {
    return fmt::format(
        "{}: rank {} does not speak this protocol (its greeting begins {:#x}, ours {:#x}); use "
        "the same transport, library and byte order on all ranks",
        transport, rank, theirs.magic, ours.magic);
  }
  if (theirs.version != ours.version) {
    return fmt::format(
        "{}: rank {} speaks protocol version {}, this rank {}; use the same library on all ranks",
        transport, rank, theirs.version, ours.version);
  }
  if (theirs.lanes != ours.lanes || theirs.ring_bytes != ours.ring_bytes) {
    return fmt::format(
        "{}: rank {} has {} lanes of {} bytes, this rank {} lanes of {} bytes; give all ranks the "
        "same settings",
        transport, rank, theirs.lanes, theirs.ring_bytes, ours.lanes, ours.ring_bytes);
  }
  return {};
}

void check_geometry(std::string_view transport, const Geometry& geometry) {
  const bool lanes_good = geometry.lanes >= 1 && geometry.lanes <= max_lanes;
  const bool ring_good = geometry.ring_bytes >= 4096 && geometry.ring_bytes <= max_ring_bytes &&
                         geometry.ring_bytes % 4096 == 0;
  if (lanes_good && ring_good) return;
  fail(ErrorKind::invalid_argument,
       "{}: {} lanes of {} bytes: give 1 to {} lanes, and a multiple of 4096 bytes up to {}",
       transport, geometry.lanes, geometry.ring_bytes, max_lanes, max_ring_bytes);
}

}  // namespace accl
