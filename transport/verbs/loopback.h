// loopback.h - a queue pair that is connected to itself: a device reads back, over PCIe, what it
// wrote, and the answer comes behind all that it wrote before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "transport/verbs/port.h"

namespace accl::verbs {

class Loopback {
 public:
  // Throws Error (system) where the port has no more queues or memory.
  explicit Loopback(const Port& port);
  Loopback(const Loopback&) = delete;
  Loopback& operator=(const Loopback&) = delete;

  // Waits until one byte of a region that the device may read was read. Gives why it could not be,
  // in words; empty: it was, and without an allocation.
  std::string read_back(const ibv_mr& region, const std::byte* byte);

 private:
  void connect();
  void modify(ibv_qp_attr& attributes, int mask) const;

  const Port& port_;
  std::byte landing_{};
  std::uint64_t number_ = 0;
  std::string failure_;
  Owned<ibv_mr> region_;
  Owned<ibv_cq> completions_;
  Owned<ibv_qp> pair_;  // Last: it uses the others.
};

}  // namespace accl::verbs
