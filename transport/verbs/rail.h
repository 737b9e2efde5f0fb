// rail.h - an open port with what all channels over it share: the descriptor by which its queues
// wake a sleeper, and the events of the device.
#pragma once

#include <memory>
#include <string>

#include "transport/verbs/port.h"

namespace accl::verbs {

// The completion queue of one channel on one rail.
struct Completions {
  Owned<ibv_cq> queue{nullptr, nullptr};
  bool is_armed = false;
};

class Rail {
 public:
  explicit Rail(std::unique_ptr<Port> port);
  Rail(const Rail&) = delete;
  Rail& operator=(const Rail&) = delete;

  const Port& port() const { return *port_; }
  int wake_fd() const { return channel_->fd; }
  int event_fd() const { return port_->context()->async_fd; }

  // Where the completions of so many requests at a time fit. Its address must stay.
  void add_completions(Completions& to, std::uint32_t requests) const;

  // Takes what woke us: the queues that were armed are not any more.
  void drain() const;

  // Takes the device's events. Gives the words of one that means that no queue of this port works
  // any more; empty where there is none.
  std::string read_events() const;

 private:
  std::unique_ptr<Port> port_;
  Owned<ibv_comp_channel> channel_;
};

}  // namespace accl::verbs
