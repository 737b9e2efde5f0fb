// reactor.h - one thread's epoll set and timers. All calls but wake() come from the thread that
// runs it (or from before it runs). A handler may remove any descriptor, its own too: events that
// were already fetched for it are dropped.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <unordered_map>

#include "accl/base/clock.h"
#include "accl/base/fd.h"

namespace accl::bootstrap {

class Reactor {
 public:
  using Handler = std::function<void(std::uint32_t events)>;
  using Timer = std::uint64_t;

  Reactor();  // Throws Error(system).

  // The descriptor stays the caller's, and must be removed before it is closed.
  void add(int fd, std::uint32_t events, Handler handler);
  void modify(int fd, std::uint32_t events);
  void remove(int fd);

  Timer after(Milliseconds delay, std::function<void()> action);
  void cancel(Timer timer);

  // Makes run_once return soon. Any thread, also while nobody runs.
  void wake();

  // Gives its own descriptors back, when all others were removed. Nothing may be called any more.
  void close();

  // Waits for events, timers or wake(), and handles what is there.
  void run_once();

 private:
  using Token = std::uint64_t;  // Never used twice, as descriptors are.
  struct Entry {
    int fd = -1;
    Handler handler;
  };

  int wait_ms() const;  // Until the first timer; -1 without one.
  void run_timers();

  Fd epoll_;
  Fd wake_;
  Token last_token_ = 0;
  Timer last_timer_ = 0;
  std::unordered_map<Token, std::shared_ptr<Entry>> entries_;
  std::unordered_map<int, Token> tokens_;
  // By time; the number keeps timers of one moment apart.
  std::map<std::pair<Clock::time_point, Timer>, std::function<void()>> timers_;
};

}  // namespace accl::bootstrap
