// fault.h - a transport that fails on purpose, at a place that can be chosen: so that every check
// of what runs above can be shown to fail when it should.
//
// Calls, messages and releases are counted from 1 over all endpoints of the transport. A call is a
// put, a release or an expect: what the program does, not how often it happened to poll.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "transport/transport.h"

namespace accl {

enum class FaultKind : std::uint8_t {
  flip,          // One bit of the payload of message k (or of the next that has a payload).
  drop,          // Message k is never announced.
  delay,         // Arrivals show after a random number of polls; k seeds.
  refuse,        // put gives false at random; k seeds.
  break_,        // The endpoint of call k is broken from then on.
  die,           // SIGKILL at call k.
  stop,          // SIGSTOP at call k.
  skip_release,  // Release k is lost.
  truncate,      // Message k (or the next with a payload) says half its bytes.
};

struct FaultPlan {
  FaultKind kind = FaultKind::flip;
  std::uint64_t k = 1;
};

// "flip:3", "delay:42"; the kinds by their names above, "break" without the underscore. Throws
// Error (invalid_argument) that lists them; k is a whole number from 1.
FaultPlan parse_fault(std::string_view text);

std::unique_ptr<Transport> make_fault_transport(std::unique_ptr<Transport> inner,
                                                const FaultPlan& plan);

}  // namespace accl
