// moving.cc - how a connection that works goes over to other paths. Where a device can give a queue
// that sends another label (mlx5), that is all. Else its queues stop sending (SQD) until all that
// had left was acknowledged, get the new flow labels, and go on: nothing is sent again, and the
// peer notices nothing. Where a device cannot, or the old path carries nothing any more, new queues
// with the new labels do it (restarting.cc). Each direction is its sender's to move.
#include <cerrno>
#include <system_error>

#include "accl/base/log.h"
#include "transport/verbs/channel.h"

namespace accl::verbs {
namespace {

// Longer than a loaded network takes, and short beside what new queues cost a path that is dead.
// Who did not run in that time looks some more times.
constexpr auto longest_drain = std::chrono::milliseconds(200);
constexpr int least_looks = 10;
constexpr auto between_looks = std::chrono::milliseconds(1);  // A look is a system call.

std::string words(int error) { return std::generic_category().message(error); }

}  // namespace

void Channel::move() {
  wants_move_ = true;
  label_shift_ = 0;  // What was avoided before is known to be usable, or gone.
}

// "11, 12".
std::string Channel::labels() const {
  std::string text;
  for (const Lane& lane : lanes_) {
    text += fmt::format("{}{}", text.empty() ? "" : ", ", lane.queue->flow_label());
  }
  return text;
}

bool Channel::is_to_move(std::uint32_t lane) const {
  return move_->labels[lane] != lanes_[lane].queue->flow_label();
}

bool Channel::relabel_all() {
  for (std::uint32_t i = 0; i < lanes_.size(); ++i) {
    if (is_to_move(i) && lanes_[i].queue->relabel(move_->labels[i]) != 0) return false;
  }
  log(LogLevel::info, "verbs: connection to rank {} moved from flow labels {} to {} at once",
      index(peer_), move_->from, labels());
  move_.reset();
  return true;
}

// True: there is something to move.
bool Channel::start_move() {
  if (stage_ != Stage::joined || ending_since_) return false;
  wants_move_ = false;
  move_.emplace();
  bool is_any = false;
  for (std::uint32_t i = 0; i < lanes_.size(); ++i) {
    move_->labels[i] = flow_label(i, lanes_[i].queue->peer());
    is_any = is_any || is_to_move(i);
  }
  if (!is_any) {
    move_.reset();
    return false;
  }
  move_->from = labels();
  if (relabel_all()) return true;
  stage_ = Stage::moving;
  move_->since = move_->next_look = Clock::now();
  for (std::uint32_t i = 0; i < lanes_.size(); ++i) {
    const int error = is_to_move(i) ? lanes_[i].queue->pause() : 0;
    if (error == 0) continue;
    restart(fmt::format("{} knows no SQD: {}", port_of(i).text(), words(error)), epoch_ + 1, true);
    break;
  }
  return true;
}

bool Channel::step_move() {
  if (!move_) return start_move();
  if (ending_since_) {
    move_.reset();
    return false;
  }
  const auto now = Clock::now();
  if (now < move_->next_look) return false;
  move_->next_look = now + between_looks;
  ++move_->looks;
  for (std::uint32_t i = 0; i < lanes_.size(); ++i) {
    const int error = is_to_move(i) ? lanes_[i].queue->drained() : 0;
    if (error == 0) continue;
    const bool has_time = now - move_->since < longest_drain || move_->looks < least_looks;
    if (error == EAGAIN && has_time) return false;
    // The old path has failed us: a peer that finds so too need not think it is for our moving.
    restart(fmt::format("lane {} does not drain: {}", i,
                        error == EAGAIN ? "nothing is acknowledged" : words(error)),
            epoch_ + 1, false);
    return true;
  }
  for (std::uint32_t i = 0; i < lanes_.size(); ++i) {
    const int error = is_to_move(i) ? lanes_[i].queue->resume(move_->labels[i]) : 0;
    if (error == 0) continue;
    restart(fmt::format("lane {} takes no new label: {}", i, words(error)), epoch_ + 1, true);
    return true;
  }
  log(LogLevel::info, "verbs: connection to rank {} moved from flow labels {} to {} by SQD",
      index(peer_), move_->from, labels());
  move_.reset();
  stage_ = Stage::joined;
  return true;
}

}  // namespace accl::verbs
