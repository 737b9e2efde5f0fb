#include "accl/idle.h"

#include <poll.h>
#include <sched.h>

#include <array>

#include "accl/base/error.h"

namespace accl {
namespace {

// Looks before giving up the core or the clock is asked; see docs/performance.md for the figures.
constexpr std::uint32_t looks_alone = 2000;
constexpr std::uint32_t looks_crowded = 2;
constexpr std::uint32_t looks_per_check = 64;
constexpr std::uint32_t looks_per_clock = 8;  // Where it is no TSC, it costs more than a look.
constexpr auto sleep_after = std::chrono::microseconds(1000);
constexpr auto sleep_after_on_cores = std::chrono::microseconds(100);
constexpr int longest_sleep_ms = 20;
// After the time-out was reported a verdict is due at once; this is for a watch that is itself cut.
constexpr auto verdict_grace = std::chrono::seconds(5);

}  // namespace

Idle::Idle(Connections& connections, Executor& executor, Watch& watch, Milliseconds timeout)
    : connections_(connections), executor_(executor), watch_(watch), timeout_(timeout) {}

bool Idle::wait(std::span<PeerLanes* const> peers) {
  ++looks_;
  const std::uint32_t enough = connections_.is_crowded() ? looks_crowded : looks_alone;
  if (looks_ < enough) {
    __builtin_ia32_pause();
    if (looks_ % looks_per_check == 0 && watch_.failed()) throw watch_.verdict();
    return false;
  }
  return wait_longer(peers);
}

bool Idle::wait_longer(std::span<PeerLanes* const> peers) {
  if (watch_.failed()) throw watch_.verdict();
  const bool crowded = connections_.is_crowded();
  const bool is_on_cores = crowded && connections_.is_carried_by_cores();
  if (is_on_cores || looks_ % looks_per_clock == 0) {
    const Rank peer = peers[executor_.blocked_on()]->rank;
    const auto now = Clock::now();
    if (!is_clocked_) start_clock(peer, now);
    const auto patience = is_on_cores ? sleep_after_on_cores : sleep_after;
    if (now - since_ > patience) {
      check(peer);
      sleep();
      return true;
    }
  }
  crowded ? static_cast<void>(::sched_yield()) : __builtin_ia32_pause();
  return false;
}

void Idle::start_clock(Rank peer, Clock::time_point now) {
  since_ = now;
  is_clocked_ = true;
  is_reported_ = false;
  watch_.board().waiting_for.store(static_cast<std::int32_t>(index(peer)),
                                   std::memory_order_relaxed);
}

void Idle::check(Rank peer) {
  watch_.board().waiting_for.store(static_cast<std::int32_t>(index(peer)),
                                   std::memory_order_relaxed);
  const auto waited = Clock::now() - since_;
  if (waited > timeout_ + verdict_grace) {
    fail(ErrorKind::timeout, "nothing came from rank {} within {} ms{}", index(peer),
         timeout_.count(), connections_.over(peer));
  }
  if (is_reported_) return;
  const std::string broken = connections_.failure(peer);
  is_reported_ = true;
  if (!broken.empty()) {
    watch_.report_broken(peer, broken);
  } else if (executor_.is_mismatch()) {
    watch_.report_mismatch(peer);
  } else if (waited > timeout_) {
    watch_.report_timeout(peer);
  } else {
    is_reported_ = false;
  }
}

void Idle::sleep() {
  fds_ = connections_.event_fds();  // Anew: a transport may have been opened since.
  fds_.push_back(watch_.event_fd());
  std::array<pollfd, 4> wanted{};
  for (std::size_t i = 0; i < fds_.size(); ++i) {
    wanted[i] = {.fd = fds_[i], .events = POLLIN, .revents = 0};
  }
  // Armed, then looked once more: what came before is seen here, what comes after wakes us.
  const bool may_sleep = connections_.arm();
  connections_.poll();
  if (may_sleep && !executor_.advance()) {
    ::poll(wanted.data(), fds_.size(), longest_sleep_ms);
  }
  connections_.disarm();
}

}  // namespace accl
