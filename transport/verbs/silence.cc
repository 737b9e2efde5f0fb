// silence.cc - whether what a channel sends is still acknowledged. A device tells nothing of its
// retransmissions, so the time is what there is: how long every request that waits for an answer
// has waited. The paths of lanes differ, so each has its own time.
#include "transport/verbs/channel.h"

namespace accl::verbs {
namespace {

// Messages that are copied ask for no answer each. Where the last ones do not within this time, an
// empty send asks for them.
constexpr auto ask_after = std::chrono::milliseconds(100);

// Who did not look for longer was stopped or busy, and knows nothing of that time.
constexpr auto longest_gap = 2 * ask_after;

}  // namespace

// While queues are replaced the silence that led to it goes on.
bool Channel::is_silent(Lane& lane, Clock::time_point now) {
  const bool is_new = lane.silent_since == Clock::time_point{};
  bool has_moved = false, is_quiet = false;
  if (!restart_) {
    const bool is_same_queue = lane.generation == lane.noted_generation;
    has_moved = is_same_queue && lane.queue->retired() != lane.noted_retired;
    is_quiet = lane.queue->is_idle() && lane.window_again == lane.window_next;
    lane.noted_generation = lane.generation;
    lane.noted_retired = lane.queue->retired();
  }
  if (is_new || has_moved || is_quiet) lane.silent_since = now;
  return restart_ || lane.queue->awaits_answer();
}

void Channel::note_silence(Clock::time_point now) {
  Clock::time_point since = now;
  const bool is_living = is_joined() && !ending_since_ && !broken_;
  const auto gap = now - looked_at_;
  looked_at_ = now;
  for (std::uint32_t i = 0; is_living && i < lanes_.size(); ++i) {
    Lane& lane = lanes_[i];
    if (gap > longest_gap && lane.silent_since != Clock::time_point{}) lane.silent_since += gap;
    if (is_silent(lane, now)) {
      since = std::min(since, lane.silent_since);
    } else if (stage_ == Stage::joined && now - lane.silent_since >= ask_after) {
      tell_release(i, true);
    }
  }
  const auto silent = std::chrono::duration_cast<Milliseconds>(now - since).count();
  silent_ms_.store(static_cast<std::uint32_t>(silent), std::memory_order_relaxed);
}

std::optional<Stall> Channel::stall() const {
  const std::uint32_t silent_ms = silent_ms_.load(std::memory_order_relaxed);
  if (silent_ms < stalled_ms_) return std::nullopt;
  return Stall{.silent_ms = silent_ms};
}

}  // namespace accl::verbs
