#include "topology/contention/traffic.h"

#include <algorithm>
#include <unordered_map>

#include "accl/base/assert.h"
#include "accl/base/error.h"

namespace accl::topology {
namespace {

// What is left of a step list when only its messages count.
struct Act {
  Position peer{};
  std::uint32_t chunks = 0;  // 0: a recv.
};

// Runs all lists at once, each as far as its messages have come, and dates every message.
class Clockwork {
 public:
  Clockwork(const Algorithm& algorithm, const Shape& shape);

  std::vector<Round> run();

 private:
  using Pair = std::uint64_t;  // Sender and receiver.
  struct Channel {
    std::vector<std::uint32_t> rounds;  // Of the messages under way, oldest first from `taken`.
    std::size_t taken = 0;
  };
  static Pair pair_of(Position from, Position to) {
    return std::uint64_t{index(from)} << 32 | index(to);
  }
  void advance(Position position);
  void send(Position position, const Act& act);
  bool receive(Position position, const Act& act);

  std::vector<std::vector<Act>> acts_;
  std::vector<std::size_t> next_;
  std::vector<std::uint32_t> clock_;
  std::vector<bool> is_open_;
  std::vector<Position> open_;
  std::unordered_map<Pair, Channel> channels_;
  std::vector<Round> rounds_;
};

Clockwork::Clockwork(const Algorithm& algorithm, const Shape& shape)
    : acts_(shape.size), next_(shape.size), clock_(shape.size), is_open_(shape.size, true) {
  std::uint64_t messages = 0;
  for (std::uint32_t p = 0; p < shape.size; ++p) {
    StepList list;
    algorithm.emit(shape, Position{p}, list);
    for (const Step& step : list.steps()) {
      if (step.kind == Step::Kind::recv) acts_[p].push_back({step.peer, 0});
      if (step.kind != Step::Kind::send) continue;
      acts_[p].push_back({step.peer, step.source.count});
      ++messages;
    }
    if (messages > max_messages || messages * (shape.size / (p + 1)) > 4 * max_messages) {
      fail(ErrorKind::invalid_argument,
           "{} over {} ranks has more than {} million messages: too many to count one by one; "
           "choose another algorithm or fewer ranks",
           algorithm.name, shape.size, max_messages >> 20);
    }
    open_.push_back(Position{p});
  }
}

void Clockwork::send(Position position, const Act& act) {
  const std::uint32_t round = clock_[index(position)];
  if (round >= rounds_.size()) rounds_.resize(round + 1);
  rounds_[round].messages.push_back({position, act.peer, act.chunks});
  channels_[pair_of(position, act.peer)].rounds.push_back(round);
  if (is_open_[index(act.peer)]) return;
  is_open_[index(act.peer)] = true;
  open_.push_back(act.peer);
}

bool Clockwork::receive(Position position, const Act& act) {
  const auto found = channels_.find(pair_of(act.peer, position));
  if (found == channels_.end()) return false;
  Channel& channel = found->second;
  if (channel.taken == channel.rounds.size()) return false;
  std::uint32_t& clock = clock_[index(position)];
  clock = std::max(clock, channel.rounds[channel.taken++] + 1);
  if (channel.taken == channel.rounds.size()) channel = {};
  return true;
}

void Clockwork::advance(Position position) {
  const std::vector<Act>& acts = acts_[index(position)];
  std::size_t& next = next_[index(position)];
  for (; next < acts.size(); ++next) {
    const Act& act = acts[next];
    if (act.chunks > 0) {
      send(position, act);
    } else if (!receive(position, act)) {
      return;
    }
  }
}

std::vector<Round> Clockwork::run() {
  while (!open_.empty()) {
    const Position position = open_.back();
    open_.pop_back();
    is_open_[index(position)] = false;
    advance(position);
  }
  for (std::size_t p = 0; p < acts_.size(); ++p) {
    ACCL_ASSERT(next_[p] == acts_[p].size(), p, next_[p], acts_[p].size());  // Plans are proven.
  }
  std::vector<Round> merged;
  for (Round& round : rounds_) {
    std::ranges::stable_sort(round.messages, {}, &Message::from);
    const bool is_same = !merged.empty() && merged.back().messages == round.messages;
    if (is_same) ++merged.back().repeats;
    if (!is_same) merged.push_back(std::move(round));
    round = {};
  }
  return merged;
}

}  // namespace

std::uint32_t Traffic::round_count() const {
  std::uint32_t count = 0;
  for (const Round& round : rounds) count += round.repeats;
  return count;
}

std::uint64_t Traffic::message_count() const {
  std::uint64_t count = 0;
  for (const Round& round : rounds) count += std::uint64_t{round.repeats} * round.messages.size();
  return count;
}

Traffic traffic_of(const Algorithm& algorithm, const Shape& shape) {
  return {.positions = shape.size,
          .chunks = algorithm.chunks(shape),
          .rounds = Clockwork(algorithm, shape).run()};
}

}  // namespace accl::topology
