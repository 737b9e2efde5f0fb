// Runs the lists of all positions as the poorest transport would: one message under way from one
// position to another. What cannot go on waits for exactly one other position, and going on never
// takes from another what it waits for; so one run stands for all.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "algorithms/verify_parts.h"

namespace accl::verify {
namespace {

constexpr std::uint32_t unlimited = std::numeric_limits<std::uint32_t>::max();

bool overlap(const Slice& one, const Slice& other) {
  return one.buffer == other.buffer && one.chunk < other.chunk + other.count &&
         other.chunk < one.chunk + one.count;
}

// After which step of its position each received message makes room: its own recv, or where it
// lies in scratch, the step by which all of it was read once.
class Releases {
 public:
  Releases(const std::vector<Step>& steps, const std::vector<std::uint32_t>& channel_of)
      : after_(steps.size()) {
    for (std::uint32_t number = 0; number < steps.size(); ++number) {
      const Step& step = steps[number];
      if (step.kind == Step::Kind::recv) {
        if (step.target.buffer != Buffer::scratch) {
          after_[number].push_back(channel_of[number]);
        } else {
          held_.push_back({step.target, channel_of[number],
                           std::vector<bool>(step.target.count, true), step.target.count});
        }
        continue;
      }
      read(step.source, number);
      if (step.kind == Step::Kind::reduce) read(step.other, number);
    }
  }

  // Channels in which the step makes room for one more message.
  const std::vector<std::uint32_t>& after(std::uint32_t step) const { return after_[step]; }

 private:
  struct Held {
    Slice slice;
    std::uint32_t channel;
    std::vector<bool> unread;
    std::uint32_t left;
  };

  void read(const Slice& slice, std::uint32_t step) {
    if (slice.buffer != Buffer::scratch) return;
    for (Held& held : held_) {
      if (!overlap(held.slice, slice)) continue;
      const std::uint32_t begin = std::max(held.slice.chunk, slice.chunk);
      const std::uint32_t end =
          std::min(held.slice.chunk + held.slice.count, slice.chunk + slice.count);
      for (std::uint32_t chunk = begin; chunk < end; ++chunk) {
        if (!held.unread[chunk - held.slice.chunk]) continue;
        held.unread[chunk - held.slice.chunk] = false;
        --held.left;
      }
      if (held.left == 0) after_[step].push_back(held.channel);
    }
    std::erase_if(held_, [](const Held& held) { return held.left == 0; });
  }

  std::vector<std::vector<std::uint32_t>> after_;
  std::vector<Held> held_;
};

class Simulation {
 public:
  Simulation(const PlanSet& plan, const Wiring& wiring, const std::vector<Releases>& releases,
             std::uint32_t window)
      : plan_(plan),
        wiring_(wiring),
        releases_(releases),
        window_(window),
        next_(plan.positions.size()),
        channels_(wiring.channels.size()) {}

  // The order of steps, as far as they get.
  std::vector<At> run() {
    std::vector<std::uint32_t> ready;
    for (auto position = static_cast<std::uint32_t>(next_.size()); position-- > 0;) {
      ready.push_back(position);
    }
    while (!ready.empty()) {
      const std::uint32_t position = ready.back();
      ready.pop_back();
      while (next_[position] < plan_.positions[position].size() && advance(position, ready)) {
        order_.push_back({position, next_[position]++});
      }
    }
    return std::move(order_);
  }

  // "position 0 waits at step 3 (recv from 2), ..."
  std::string waiting() const {
    constexpr int most = 4;
    std::string text;
    int named = 0;
    for (std::uint32_t position = 0; position < next_.size(); ++position) {
      if (next_[position] == plan_.positions[position].size()) continue;
      if (++named > most) return text + ", ...";
      const Step& step = plan_.positions[position][next_[position]];
      text += fmt::format("{}position {} waits at step {} ({} {})", named > 1 ? ", " : "", position,
                          next_[position], step.kind == Step::Kind::send ? "send to" : "recv from",
                          index(step.peer));
    }
    return text;
  }

 private:
  struct State {
    std::uint32_t sent = 0;
    std::uint32_t received = 0;
    std::uint32_t freed = 0;
  };

  // Does the next step of the position, if it can; wakes those who may have waited for it.
  bool advance(std::uint32_t position, std::vector<std::uint32_t>& ready) {
    const std::uint32_t number = next_[position];
    const Step& step = plan_.positions[position][number];
    if (is_message(step)) {
      State& state = channels_[wiring_.channel_of[position][number]];
      if (step.kind == Step::Kind::send) {
        if (state.sent - state.freed >= window_) return false;
        ++state.sent;
        ready.push_back(index(step.peer));
      } else {
        if (state.received == state.sent) return false;
        ++state.received;
      }
    }
    for (const std::uint32_t channel : releases_[position].after(number)) {
      ++channels_[channel].freed;
      ready.push_back(wiring_.channels[channel].from);
    }
    return true;
  }

  const PlanSet& plan_;
  const Wiring& wiring_;
  const std::vector<Releases>& releases_;
  std::uint32_t window_;
  std::vector<std::uint32_t> next_;
  std::vector<State> channels_;
  std::vector<At> order_;
};

}  // namespace

Fault find_progress_fault(const PlanSet& plan, const Wiring& wiring, std::vector<At>& order) {
  std::vector<Releases> releases;
  for (std::uint32_t position = 0; position < plan.positions.size(); ++position) {
    releases.emplace_back(plan.positions[position], wiring.channel_of[position]);
  }
  Simulation narrow(plan, wiring, releases, 1);
  order = narrow.run();
  if (order.size() == plan.step_count()) return {};
  Simulation wide(plan, wiring, releases, unlimited);
  const bool always = wide.run().size() != plan.step_count();
  return fmt::format("deadlock{}: {}", always ? "" : " with one message under way per pair",
                     narrow.waiting());
}

}  // namespace accl::verify
