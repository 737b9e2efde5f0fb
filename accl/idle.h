// idle.h - how a rank waits for its peers. Spinning is fastest while every rank has a core; where
// ranks share cores, whoever spins keeps its peer from running, so it gives the core up after a few
// looks; and whoever waits long sleeps until something arrives.
#pragma once

#include <cstdint>
#include <vector>

#include "accl/base/clock.h"
#include "accl/bootstrap/watch.h"
#include "accl/connections.h"
#include "accl/executor.h"

namespace accl {

class Idle {
 public:
  Idle(Connections& connections, Executor& executor, Watch& watch, Milliseconds timeout);

  // One wait, between a fraction of a microsecond and some milliseconds. Reports to the watch what
  // it finds: a broken connection, a peer in another call, a wait beyond the time-out. Throws the
  // watch's verdict once there is one. True: it looked itself, and so took what poll() tells once.
  bool wait(std::span<PeerLanes* const> peers);

  // Something moved: the next wait starts from the beginning.
  void moved() {
    looks_ = 0;
    is_clocked_ = false;
  }

 private:
  bool wait_longer(std::span<PeerLanes* const> peers);
  void start_clock(Rank peer, Clock::time_point now);
  void check(Rank peer);
  void sleep();

  Connections& connections_;
  Executor& executor_;
  Watch& watch_;
  const Milliseconds timeout_;
  std::uint32_t looks_ = 0;
  bool is_clocked_ = false;  // since_ is of the present wait.
  bool is_reported_ = false;
  Clock::time_point since_;  // When the present wait got long enough to look at the clock.
  std::vector<int> fds_;
};

}  // namespace accl
