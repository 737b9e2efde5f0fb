// restarting.cc - how a channel goes on when a path or a port fails it. Both ends stop their queues
// and take what had arrived; tell each other where every lane stands, and the addresses of new
// queues, on ports that work; connect them; and post again, from their copies, what had not
// arrived. So no byte is lost and none comes twice: what a stopped queue did not take it never
// will, and a place in the ring is used again only after the peer released it. Grants end with the
// queues: nobody is told anything before the old queue, which could still write to a granted place,
// is gone.
#include <array>
#include <exception>
#include <utility>

#include "accl/base/log.h"
#include "transport/verbs/channel.h"

namespace accl::verbs {
namespace {

// Of a queue that was stopped, where its device does not say which request is the last.
constexpr auto quiet = std::chrono::milliseconds(20);

// Without a message or an acknowledgement between them.
constexpr int most_restarts_in_vain = 3;

}  // namespace

void Channel::lose_path(const std::string& reason, bool is_of_request) {
  if (ending_since_ || (restart_ && restart_->phase == Restart::Phase::draining)) return;
  if (!is_joined() || !port_of(0).settings().fails_over) return begin_end(reason);
  if (!has_moved_ && restarts_in_vain_ >= most_restarts_in_vain) return begin_end(first_reason_);
  restart(reason, epoch_ + 1, false);
  restart_->is_of_request = is_of_request;
}

// Who only moves has not failed. What fails while it moves needs no labels besides the new ones.
void Channel::restart(std::string reason, std::uint32_t epoch, bool is_move) {
  if (ending_since_) return;
  log(LogLevel::info, "verbs: new queues to rank {}: {}", index(peer_), reason);
  epoch_ = epoch;
  stage_ = Stage::restarting;
  const bool has_shifted = !is_move && !move_;
  label_shift_ += has_shifted ? 1 : 0;
  std::string moved_from = move_ ? std::move(move_->from) : std::string();
  move_.reset();
  if (has_moved_) restarts_in_vain_ = 0;
  if (!is_move && ++restarts_in_vain_ == 1) first_reason_ = reason;
  restart_.emplace();
  restart_->is_move = is_move;
  restart_->has_shifted = has_shifted;
  restart_->moved_from = std::move(moved_from);
  restart_->reason = std::move(reason);
  restart_->quiet_since = Clock::now();
  for (Lane& lane : lanes_) {
    lane.has_last_send = lane.has_last_receive = false;
    if (lane.queue) lane.queue->stop();
  }
}

// The peer stopped its queues in order to move: so it is no wonder that ours failed.
void Channel::excuse_failure() {
  if (!restart_->is_of_request || std::exchange(restart_->is_move, true)) return;
  restart_->reason = peer_moves;
  --restarts_in_vain_;
  if (restart_->has_shifted && label_shift_ > 0) --label_shift_;
}

bool Channel::is_drained() const {
  if (Clock::now() - restart_->quiet_since > quiet) return true;
  for (const Lane& lane : lanes_) {
    if (!lane.has_last_send || !lane.has_last_receive) return false;
  }
  return true;
}

void Channel::step_restart(bool has_polled_some) {
  if (ending_since_) return;
  if (has_polled_some) restart_->quiet_since = Clock::now();
  try {
    if (restart_->phase == Restart::Phase::draining && is_drained()) renew();
    if (restart_->phase == Restart::Phase::waiting && restart_->theirs) {
      std::array<LaneAddress, max_lanes> addresses;
      for (std::size_t i = 0; i < lanes_.size(); ++i) {
        addresses[i] = restart_->theirs->lanes[i].address;
      }
      if (!connect_lanes(addresses, 1)) return;  // Each may take a second.
      note_path(addresses[0]);
      restart_->phase = Restart::Phase::connected;
      const Note ready = note_of(NoteKind::ready);
      const std::string unsaid = talk_.say(std::as_bytes(std::span(&ready, 1)));
      if (!unsaid.empty()) return begin_end(unsaid);
    }
  } catch (const std::exception& error) {  // Another port, or another try, may do.
    restart_->phase = Restart::Phase::waiting;
    return lose_path(error.what());
  }
  if (restart_->phase == Restart::Phase::connected && restart_->is_peer_ready) resume();
}

// Throws Error where a device does not give what is needed.
void Channel::renew() {
  for (Lane& lane : lanes_) lane.queue.reset();
  for (const auto& footing : footings_) {  // The last that may have come before the end.
    if (!footing || footing->lanes == 0) continue;
    while (poll(footing->completions)) {
    }
    footing->lanes = 0;
  }
  has_moved_ = false;
  for (std::uint32_t i = 0; i < lanes_.size(); ++i) {
    Lane& lane = lanes_[i];
    const bool is_suspect = restarts_in_vain_ > 1;  // Whatever its port says of itself.
    const bool stays = is_suspect || restart_->is_move;
    const std::optional<std::uint32_t> rail =
        rails_.working(stays ? lane.rail : rails_.turn_of(i), is_suspect);
    if (!rail) return begin_end("no port of this host works");
    ++lane.generation;
    stand_on(i, *rail);
    begin_grants(i);
    lane.told = lane.freed;
  }
  connected_ = 0;
  tries_ = 0;
  restart_->phase = Restart::Phase::waiting;
  const Note note = note_of(NoteKind::restart);
  const std::string unsaid = talk_.say(std::as_bytes(std::span(&note, 1)));
  if (!unsaid.empty()) begin_end(unsaid);
}

// Sets where to begin again. What is lent is copied first, where it did not arrive: the device that
// knew its memory may be gone. What was placed goes to the ring: its grant ended with the queues.
void Channel::find_lost(std::uint32_t number, std::uint32_t arrived) {
  Lane& lane = lanes_[number];
  lane.window_again = lane.window_next;
  for (std::uint32_t k = lane.window_next; k != lane.window_first; --k) {
    Sent& message = lane.at(k - 1);
    const bool has_arrived = static_cast<std::int32_t>(message.until - arrived) <= 0;
    if (has_arrived) break;
    if (message.is_gone) return begin_end("a message was acknowledged, and did not arrive");
    take_home(number, message);
    lane.window_again = k - 1;
  }
  for (; lane.window_lent != lane.window_next; ++lane.window_lent) {
    lane.at(lane.window_lent).lent = {};
    lane.sent.store(lane.at(lane.window_lent).until, std::memory_order_release);
  }
}

void Channel::resume() {
  std::uint32_t again = 0;
  for (std::uint32_t i = 0; i < lanes_.size(); ++i) {
    Lane& lane = lanes_[i];
    const LaneState& theirs = restart_->theirs->lanes[i];
    take_word(lane, theirs.freed);
    find_lost(i, theirs.arrived);
    again += lane.window_next - lane.window_again;
  }
  std::string why = restart_->reason;
  if (!restart_->moved_from.empty()) {
    why = fmt::format("moved from flow labels {} to {} by new queues: {}", restart_->moved_from,
                      labels(), why);
  }
  log(restart_->is_move ? LogLevel::info : LogLevel::warning,
      "verbs: connection to rank {} goes on over {}, {} messages sent again: {}", index(peer_),
      path_, again, why);
  restart_.reset();
  stage_ = Stage::joined;
  post_again();
}

// As many as the queues take.
void Channel::post_again() {
  is_behind_ = false;
  if (ending_since_) return;
  for (std::uint32_t i = 0; i < lanes_.size(); ++i) {
    Lane& lane = lanes_[i];
    while (!restart_ && !ending_since_ && lane.window_again != lane.window_next &&
           lane.queue->has_room(1)) {
      const int error = post(lane, lane.at(lane.window_again));
      if (error == 0) ++lane.window_again;
      note_post(i, error);
    }
    is_behind_ = is_behind_ || lane.window_again != lane.window_next;
  }
}

}  // namespace accl::verbs
