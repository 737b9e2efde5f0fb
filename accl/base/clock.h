// clock.h - deadlines on the monotonic clock. Every wait in this library takes one.
#pragma once

#include <algorithm>
#include <chrono>

namespace accl {

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::milliseconds;

class Deadline {
 public:
  explicit Deadline(Milliseconds in) : at_(Clock::now() + in) {}

  bool passed() const { return Clock::now() >= at_; }

  // Time left, rounded up, never negative: what poll(2) and epoll_wait(2) take.
  int left_ms() const {
    const auto left = std::chrono::ceil<Milliseconds>(at_ - Clock::now()).count();
    return static_cast<int>(std::clamp<decltype(left)>(left, 0, 1'000'000'000));
  }

 private:
  Clock::time_point at_;
};

}  // namespace accl
