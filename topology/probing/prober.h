// prober.h - which routers the datagrams of a flow label pass, found by letting their TTL run out:
// the router where it does says so. All labels, destinations and distances are asked at once, at a
// bounded rate.
//
// A RoCE NIC would take a probe of RoCE's port for RoCE, and drop it as malformed. None should get
// there: how far it is to the destination is found first, with a port of traceroute, which the
// destination's kernel answers, and the TTL of the others ends one before.
//
// Routers limit how many answers they give. What was not answered is asked again as long as others
// at the same distance still get answers; only where several rounds bring nothing more is the
// router taken for a silent one.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "topology/probing/wire.h"

namespace accl::topology {

struct ProbeLimits {
  std::uint32_t per_second = 1000;  // Probes, to all destinations together.
  std::uint8_t most_hops = 16;
  Milliseconds patience{300};  // For the answers to the last probe of a round.
  Milliseconds silence{3000};  // Of the routers at one distance, before it is believed.
  Milliseconds longest{100'000};
};

// Routers by distance; none: it does not answer.
using Hops = std::vector<std::optional<Address>>;

struct LabelHops {
  std::uint16_t label = 0;
  Hops hops;
};

// What was found on the way to one destination.
struct Trace {
  Address to{};
  bool has_answered = false;  // The destination itself: its distance is known.
  std::vector<LabelHops> labels;
  // Labels left out: time was up while answers still came; a router on their way knows none.
  std::uint32_t undecided = 0, refused = 0;
};

// By destination, in their order. Throws Error (remote) where nobody on the way to one answers.
std::vector<Trace> trace(Wire& wire, std::span<const Address> destinations,
                         const ProbeLimits& limits);

}  // namespace accl::topology
