// udp_wire.h - probes over the network, as ordinary UDP sockets send them: no privilege is needed.
// The kernel keeps the ICMP errors of a socket in its error queue.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "accl/base/fd.h"
#include "topology/probing/wire.h"

namespace accl::topology {

class UdpWire : public Wire {
 public:
  // Probes leave from this address of this host, with so many labels: spread over all there are,
  // and less where ports are in use. Throws Error: invalid_argument where this host has no such
  // address, system where the limit of open files is too low or no port is free.
  UdpWire(const Address& from, std::uint32_t label_count);

  std::span<const std::uint16_t> labels() const override { return labels_; }
  void send(const Probe& probe) override;
  std::optional<Answer> receive(Clock::time_point until) override;
  Clock::time_point now() const override { return Clock::now(); }

 private:
  Fd open(std::uint16_t label) const;
  std::optional<Answer> read(std::size_t number);

  Address from_;
  std::vector<std::uint16_t> labels_;
  std::vector<Fd> sockets_;  // By label.
  Fd ready_;                 // Tells which of them have errors.
};

}  // namespace accl::topology
