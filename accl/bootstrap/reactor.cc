#include "accl/bootstrap/reactor.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "accl/base/assert.h"
#include "accl/base/error.h"

namespace accl::bootstrap {

Reactor::Reactor()
    : epoll_(epoll_create1(EPOLL_CLOEXEC)), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!epoll_ || !wake_) fail_system("cannot make an epoll set (see ulimit -n)", errno);
  add(wake_.get(), EPOLLIN, [this](std::uint32_t) {
    std::uint64_t count = 0;
    static_cast<void>(read(wake_.get(), &count, sizeof count));
  });
}

void Reactor::add(int fd, std::uint32_t events, Handler handler) {
  ACCL_ASSERT(!tokens_.contains(fd), fd);
  epoll_event event{};
  event.events = events;
  event.data.u64 = ++last_token_;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    fail_system("cannot watch a descriptor", errno);
  }
  tokens_[fd] = last_token_;
  entries_[last_token_] = std::make_shared<Entry>(Entry{fd, std::move(handler)});
}

void Reactor::modify(int fd, std::uint32_t events) {
  const auto token = tokens_.find(fd);
  if (token == tokens_.end()) return;
  epoll_event event{};
  event.events = events;
  event.data.u64 = token->second;
  const int result = epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
  ACCL_ASSERT(result == 0, fd, errno);
}

void Reactor::remove(int fd) {
  const auto token = tokens_.find(fd);
  if (token == tokens_.end()) return;
  static_cast<void>(epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr));
  entries_.erase(token->second);
  tokens_.erase(token);
}

Reactor::Timer Reactor::after(Milliseconds delay, std::function<void()> action) {
  timers_.emplace(std::pair(Clock::now() + delay, ++last_timer_), std::move(action));
  return last_timer_;
}

void Reactor::cancel(Timer timer) {
  const auto found = std::find_if(timers_.begin(), timers_.end(),
                                  [&](const auto& entry) { return entry.first.second == timer; });
  if (found != timers_.end()) timers_.erase(found);
}

void Reactor::wake() {
  const std::uint64_t one = 1;
  static_cast<void>(write(wake_.get(), &one, sizeof one));
}

void Reactor::close() {
  remove(wake_.get());
  wake_.reset();
  epoll_.reset();
}

int Reactor::wait_ms() const {
  if (timers_.empty()) return -1;
  const auto left = timers_.begin()->first.first - Clock::now();
  return static_cast<int>(std::max<long>(0, std::chrono::ceil<Milliseconds>(left).count()));
}

void Reactor::run_timers() {
  const Clock::time_point now = Clock::now();
  while (!timers_.empty() && timers_.begin()->first.first <= now) {
    const auto timer = timers_.extract(timers_.begin());  // Out first: it may add or cancel.
    timer.mapped()();
  }
}

void Reactor::run_once() {
  std::array<epoll_event, 64> events{};
  const int count = epoll_wait(epoll_.get(), events.data(), events.size(), wait_ms());
  ACCL_ASSERT(count >= 0 || errno == EINTR, errno);
  for (int i = 0; i < count; ++i) {
    const auto& event = events[static_cast<std::size_t>(i)];
    const auto found = entries_.find(event.data.u64);
    if (found == entries_.end()) continue;               // Removed by a handler before it.
    const std::shared_ptr<Entry> entry = found->second;  // Alive while it removes itself.
    entry->handler(event.events);
  }
  run_timers();
}

}  // namespace accl::bootstrap
