// wire.h - how probes leave and answers come: over a network (udp_wire.h), or over what a test
// makes of one. Time is the wire's too, so that a test need not wait.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "accl/base/clock.h"
#include "topology/probing/address.h"

namespace accl::topology {

constexpr std::uint16_t roce_port = 4791;           // Where RoCE v2 goes to.
constexpr std::uint16_t first_label_port = 0xC000;  // RoCE v2 with label n comes from n above.
constexpr std::uint16_t most_label = 0x3FFF;

// One datagram, with the source port of a flow label, and over IPv6 with the label itself.
struct Probe {
  Address to{};
  std::uint16_t port = roce_port;
  std::uint16_t label = 0;
  std::uint8_t ttl = 0;
};

// An ICMP error about a probe.
struct Answer {
  Address by{};
  Address to{};  // Of the probe, as are the next three.
  std::uint16_t port = 0;
  std::uint16_t label = 0;
  std::uint8_t ttl = 0;     // 0: it quotes too little of the probe to tell.
  bool has_no_way = false;  // A router that knows none to the destination.
};

class Wire {
 public:
  virtual ~Wire() = default;

  // That probes can have.
  virtual std::span<const std::uint16_t> labels() const = 0;

  // It may get lost. Throws Error (system) where this host cannot send there at all.
  virtual void send(const Probe& probe) = 0;

  // The next answer; none where none comes until then.
  virtual std::optional<Answer> receive(Clock::time_point until) = 0;

  virtual Clock::time_point now() const = 0;
};

}  // namespace accl::topology
