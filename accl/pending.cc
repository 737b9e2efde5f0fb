// pending.cc - started calls: the queue, whoever drives it, and the requests that stand for them.
#include <chrono>
#include <utility>

#include "accl/calls.h"
#include "accl/group.h"

namespace accl {
namespace {

class GroupCall final : public StartedCall {
 public:
  GroupCall(Group& group, std::shared_ptr<Pending> pending)
      : group_(group), pending_(std::move(pending)) {}

  bool test() override { return group_.finish(*pending_, false); }
  void wait() override { group_.finish(*pending_, true); }

 private:
  Group& group_;
  std::shared_ptr<Pending> pending_;
};

// How often connections are looked after while there is no call, and while one of them needs it.
constexpr std::chrono::milliseconds between_looks{100};
constexpr std::chrono::milliseconds between_troubles{5};

// The progress thread looks for a waiter this often, and at most this long at one go.
constexpr int rounds_between_looks = 64;

void keep_lists(Pending& pending) {
  Call& call = pending.call;
  const std::size_t n = call.send_counts.size();
  for (const auto& list :
       {call.send_counts, call.send_offsets, call.recv_counts, call.recv_offsets}) {
    pending.lists.insert(pending.lists.end(), list.begin(), list.end());
  }
  const std::span<const std::size_t> all = pending.lists;
  if (n == 0) return;
  call.send_counts = all.subspan(0, n);
  call.send_offsets = all.subspan(n, n);
  call.recv_counts = all.subspan(2 * n, n);
  call.recv_offsets = all.subspan(3 * n, n);
}

}  // namespace

std::unique_ptr<StartedCall> Group::start(const Call& call) {
  validate(call, size(), self_);
  auto pending = std::make_shared<Pending>();
  pending->call = call;
  keep_lists(*pending);
  {
    const Lock lock(mutex_);
    if (failed_) throw *failed_;
    pending_.push_back(pending);
    ensure_server();
  }
  return std::make_unique<GroupCall>(*this, std::move(pending));
}

bool Group::finish(Pending& pending, bool may_wait) {
  waiters_.fetch_add(1, std::memory_order_relaxed);
  Lock lock(mutex_, std::defer_lock);
  const bool is_mine = may_wait ? (lock.lock(), true) : lock.try_lock();
  waiters_.fetch_sub(1, std::memory_order_relaxed);
  if (!is_mine) return false;
  while (!pending.is_done) {
    begin_next();
    if (!is_begun_) continue;  // It failed, or had nothing to do.
    if (may_wait) {
      drive_pending();
    } else if (!step_pending()) {
      return false;
    }
  }
  if (pending.error) throw *pending.error;
  return true;
}

// Hands the first pending call to the executor.
void Group::begin_next() {
  if (is_begun_) return;
  const Call& call = pending_.front()->call;
  try {
    if (failed_) throw *failed_;
    if (is_nothing(call)) return end_next(std::nullopt);
    begin(call);
    idle_.moved();
    is_begun_ = true;
  } catch (const Error& error) {
    end_next(error);
  }
}

// Drives the call in the executor, if there is one, to its end.
void Group::drive_pending() {
  if (!is_begun_) return;
  try {
    drive();
    end();
    end_next(std::nullopt);
  } catch (const Error& error) {
    end_next(error);
  }
}

// One look at the call in the executor; true when it ended.
bool Group::step_pending() {
  try {
    if (watch_->failed()) throw watch_->verdict();
    if (!drive_some()) return false;
    end();
    end_next(std::nullopt);
  } catch (const Error& error) {
    end_next(error);
  }
  return true;
}

void Group::end_next(std::optional<Error> error) {
  if (error && error->kind() != ErrorKind::invalid_argument) failed_ = error = settle(*error);
  const auto ended = pending_.front();
  pending_.pop_front();
  is_begun_ = false;
  ended->error = std::move(error);
  ended->is_done = true;
}

// A peer may still wait for what this rank sent in a call that is over here, and the connection may
// need more of us than its device does. True where it does. Where calls run they see to it, and an
// armed queue would cost the next one an interrupt.
bool Group::look_after() {
  connections_.poll();
  const bool is_quiet = std::exchange(has_run_, false) || connections_.arm();
  connections_.disarm();  // The next poll, whosever it is, looks at everything.
  return !is_quiet;
}

void Group::ensure_server() {
  if (!server_.joinable()) server_ = std::thread([this] { serve(); });
  wake_.notify_one();
}

void Group::serve() {
  Lock lock(mutex_);
  while (!is_stopping_) {
    if (pending_.empty()) {
      if (connections_.needs_care()) {
        wake_.wait_for(lock, look_after() ? between_troubles : between_looks);
      } else {
        wake_.wait(lock);
      }
      continue;
    }
    begin_next();
    bool ended = !is_begun_;
    for (int i = 0; i < rounds_between_looks && !ended && waiters_.load() == 0; ++i) {
      ended = step_pending() || wait_pending();
    }
    lock.unlock();
    std::this_thread::yield();  // Whoever waits for the lock gets it.
    lock.lock();
  }
}

// Waits a little for the call in the executor, as a driver does; true when it ended.
bool Group::wait_pending() {
  try {
    idle_.wait(current_->peers);
    return false;
  } catch (const Error& error) {
    end_next(error);
    return true;
  }
}

}  // namespace accl
