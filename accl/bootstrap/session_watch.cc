#include "accl/bootstrap/session_watch.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>

#include "accl/base/assert.h"

namespace accl::bootstrap {
namespace {

constexpr std::size_t reason_limit = 300;
// A rank that is cut off has all its connections dead; the others each name theirs.
constexpr std::size_t dead_limit = 8;
// Connections open in milliseconds; on a busy host in some hundreds.
constexpr Milliseconds opening_time{500};

}  // namespace

SessionWatch::SessionWatch(std::shared_ptr<JobSession> session, std::uint64_t topic,
                           std::span<const Rank> ranks)
    : session_(std::move(session)), topic_(topic), event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!event_) fail_system("cannot make an event descriptor (see ulimit -n)", errno);
  for (const Rank rank : ranks) {
    ACCL_ASSERT(index(rank) < session_->members().size(), index(rank));
    ranks_.push_back(index(rank));
  }
  session_->engine().watches().add(topic_, *this);
}

SessionWatch::~SessionWatch() { session_->engine().watches().remove(topic_); }

Error SessionWatch::verdict() const {
  const std::optional<Error> error = failure();
  ACCL_ASSERT(error.has_value(), topic_);
  return *error;
}

void SessionWatch::set_witness(Witness witness) {
  const std::lock_guard lock(witness_mutex_);
  witness_ = std::move(witness);
}

void SessionWatch::report_timeout(Rank waiting_for) {
  complain(ReportKind::timeout, waiting_for, "");
}

void SessionWatch::report_mismatch(Rank peer) { complain(ReportKind::mismatch, peer, ""); }

void SessionWatch::report_broken(Rank peer, const std::string& reason) {
  complain(ReportKind::broken, peer, reason.substr(0, reason_limit));
}

void SessionWatch::complain(ReportKind kind, Rank peer, const std::string& reason) {
  if (failed()) return;
  const Report report{kind, static_cast<std::int32_t>(index(peer)), reason};
  session_->engine().post([topic = topic_, ranks = ranks_, report](Council& council) {
    council.complain(topic, ranks, report, Clock::now());
  });
}

void SessionWatch::give_up(const std::string& reason) {
  if (failed()) return;
  session_->engine().post(
      [topic = topic_, ranks = ranks_, reason = reason.substr(0, reason_limit)](Council& council) {
        council.give_up(topic, ranks, reason, Clock::now());
      });
}

void SessionWatch::abort() {
  if (failed()) return;
  session_->engine().post([topic = topic_, ranks = ranks_](Council& council) {
    council.abort(topic, ranks, Clock::now());
  });
}

RankState SessionWatch::state() const {
  RankState state;
  // The running thread may begin another call meanwhile; a few tries give one whole picture, and
  // where calls fly by so fast nobody is stuck here.
  for (int i = 0; i < 100; ++i) {
    state.open = true;
    state.call = board_.call.load(std::memory_order_acquire);
    state.finished = board_.finished.load(std::memory_order_acquire);
    state.collective = board_.collective.load(std::memory_order_relaxed);
    state.type = board_.type.load(std::memory_order_relaxed);
    state.op = board_.op.load(std::memory_order_relaxed);
    state.root = board_.root.load(std::memory_order_relaxed);
    state.algorithm = board_.algorithm.load(std::memory_order_relaxed);
    state.count = board_.count.load(std::memory_order_relaxed);
    state.waiting_for = board_.waiting_for.load(std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_acquire);
    if (board_.call.load(std::memory_order_relaxed) == state.call) break;
  }
  add_dead(state);
  return state;
}

// What is known of connections that should be there.
void SessionWatch::add_dead(RankState& state) const {
  const auto add = [&](std::uint32_t peer, const std::string& text, bool is_open) {
    if (state.dead.size() == dead_limit) return;
    state.dead.push_back({peer, text.substr(0, reason_limit), is_open});
  };
  const auto now = Clock::now();
  for (const Desk::Awaited& guest : session_->engine().desk().awaited(topic_)) {
    const auto waited = std::chrono::duration_cast<Milliseconds>(now - guest.since);
    const auto place = std::find(ranks_.begin(), ranks_.end(), guest.rank);
    if (waited < opening_time || place == ranks_.end()) continue;
    add(static_cast<std::uint32_t>(place - ranks_.begin()),
        fmt::format("{}, which has not opened for {} ms", guest.path, waited.count()), false);
  }
  const std::lock_guard lock(witness_mutex_);
  if (!witness_) return;
  for (const DeadPath& path : witness_()) add(index(path.peer), path.text, true);
}

void SessionWatch::fail(const Error& error) {
  {
    const std::lock_guard lock(mutex_);
    if (failure_) return;
    failure_ = error;
  }
  failed_.store(true, std::memory_order_release);
  const std::uint64_t one = 1;
  static_cast<void>(write(event_.get(), &one, sizeof one));
}

std::optional<Error> SessionWatch::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

}  // namespace accl::bootstrap
