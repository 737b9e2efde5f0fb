#include "tests/algorithms/mutate.h"

#include <algorithm>
#include <random>

namespace accl::test {
namespace {

using Kind = Step::Kind;

bool is_message(const Step& step) { return step.kind == Kind::send || step.kind == Kind::recv; }

// Whether two slices share memory.
bool overlap(const Slice& one, const Slice& other, bool in_place) {
  const bool same_buffer =
      one.buffer == other.buffer ||
      (in_place && one.buffer != Buffer::scratch && other.buffer != Buffer::scratch);
  return same_buffer && one.chunk < other.chunk + other.count &&
         other.chunk < one.chunk + one.count;
}

std::vector<Slice> reads(const Step& step) {
  if (step.kind == Kind::recv) return {};
  if (step.kind == Kind::reduce) return {step.source, step.other};
  return {step.source};
}

std::vector<Slice> writes(const Step& step) {
  if (step.kind == Kind::send) return {};
  return {step.target};
}

bool touch(const std::vector<Slice>& some, const std::vector<Slice>& others, bool in_place) {
  return std::ranges::any_of(some, [&](const Slice& one) {
    return std::ranges::any_of(others,
                               [&](const Slice& other) { return overlap(one, other, in_place); });
  });
}

// In place, a copy of input to the same chunks of output does nothing.
bool does_nothing(const Step& step, bool in_place) {
  return in_place && step.kind == Kind::copy && step.source.buffer == Buffer::input &&
         step.target.buffer == Buffer::output && step.source.chunk == step.target.chunk;
}

// Two additions to one sum: a + x + y is a + y + x. (That all positions of an allreduce still add
// alike is not said by this; running it on floating point numbers shows it.)
bool both_add(const Step& one, const Step& other, bool in_place) {
  if (one.kind != Kind::reduce || other.kind != Kind::reduce) return false;
  if (one.target != one.source || other.target != other.source) return false;
  return one.target == other.target && !overlap(one.target, one.other, in_place) &&
         !overlap(other.target, other.other, in_place);
}

bool independent(const Step& one, const Step& other, bool in_place) {
  if (is_message(one) && one.kind == other.kind && one.peer == other.peer) return false;
  if (does_nothing(one, in_place) || does_nothing(other, in_place)) return true;
  if (both_add(one, other, in_place)) return true;
  return !touch(writes(one), writes(other), in_place) &&
         !touch(writes(one), reads(other), in_place) && !touch(reads(one), writes(other), in_place);
}

struct Place {
  std::uint32_t position = 0;
  std::uint32_t step = 0;
};

// The receiving end of a send, by counting.
Place receiver_of(const PlanSet& plan, Place send) {
  const std::vector<Step>& steps = plan.positions[send.position];
  const Position peer = steps[send.step].peer;
  std::uint32_t before = 0;
  for (std::uint32_t step = 0; step < send.step; ++step) {
    if (steps[step].kind == Kind::send && steps[step].peer == peer) ++before;
  }
  const std::vector<Step>& others = plan.positions[index(peer)];
  for (std::uint32_t step = 0;; ++step) {
    if (others[step].kind != Kind::recv || index(others[step].peer) != send.position) continue;
    if (before-- == 0) return {index(peer), step};
  }
}

class Mutator {
 public:
  Mutator(const PlanSet& plan, const std::function<void(const Mutant&)>& use)
      : plan_(plan), use_(use) {}

  void all() {
    for (at_.position = 0; at_.position < plan_.positions.size(); ++at_.position) {
      const std::vector<Step>& steps = plan_.positions[at_.position];
      for (at_.step = 0; at_.step < steps.size(); ++at_.step) {
        change_slices(steps[at_.step]);
        change_kind(steps[at_.step]);
        change_list(steps);
        if (is_message(steps[at_.step])) change_message(steps[at_.step]);
      }
    }
  }

 private:
  // Hands out the plan with the step changed by `change`.
  template <class Change>
  void with_step(Mutation mutation, Change change) {
    Mutant mutant = fresh(mutation);
    change(mutant.plan.positions[at_.position][at_.step]);
    use_(mutant);
  }

  Mutant fresh(Mutation mutation, std::uint32_t second = 0) const {
    return {mutation, at_.position, at_.step, second, plan_};
  }

  void change_slices(const Step& step) {
    const auto shift = [&](Mutation mutation, Slice Step::*slice) {
      const std::uint32_t layer = plan_.chunks;
      for (const std::uint32_t by : {1U, ~0U, layer, ~layer + 1}) {
        with_step(mutation, [&](Step& changed) { (changed.*slice).chunk += by; });
      }
    };
    const auto rename = [&](Slice Step::*slice) {
      for (const Buffer buffer : {Buffer::input, Buffer::output, Buffer::scratch}) {
        if ((step.*slice).buffer == buffer) continue;
        with_step(Mutation::change_buffer, [&](Step& mutant) { (mutant.*slice).buffer = buffer; });
      }
    };
    shift(step.kind == Kind::send ? Mutation::rename_target : Mutation::shift_target,
          &Step::target);
    rename(&Step::target);
    if (step.kind != Kind::recv) {
      shift(Mutation::shift_source, &Step::source);
      rename(&Step::source);
    }
    if (step.kind == Kind::reduce) {
      shift(Mutation::shift_other, &Step::other);
      rename(&Step::other);
    }
    for (const std::uint32_t by : {1U, ~0U}) {
      with_step(Mutation::change_count, [&](Step& mutant) {
        mutant.target.count += by;
        if (step.kind != Kind::recv) mutant.source.count += by;
        if (step.kind == Kind::reduce) mutant.other.count += by;
      });
    }
  }

  void change_kind(const Step& step) {
    if (step.kind == Kind::reduce) {
      for (const Slice& kept : {step.source, step.other}) {
        with_step(Mutation::reduce_to_copy, [&](Step& mutant) {
          mutant = {.kind = Kind::copy, .target = step.target, .source = kept};
        });
      }
      with_step(Mutation::swap_operands,
                [&](Step& mutant) { std::swap(mutant.source, mutant.other); });
    }
    if (step.kind == Kind::copy) {
      for (const Slice& added : {step.source, step.target}) {
        with_step(Mutation::copy_to_reduce, [&](Step& mutant) {
          mutant = {Kind::reduce, step.target, step.source, added, Position{}};
        });
      }
    }
  }

  void change_list(const std::vector<Step>& steps) {
    const auto list = [&](Mutant& mutant) -> std::vector<Step>& {
      return mutant.plan.positions[at_.position];
    };
    Mutant gone = fresh(Mutation::delete_step);
    list(gone).erase(list(gone).begin() + at_.step);
    use_(gone);
    Mutant twice = fresh(Mutation::duplicate_step);
    list(twice).insert(list(twice).begin() + at_.step, steps[at_.step]);
    use_(twice);
    const auto swap_with = [&](Mutation mutation, std::uint32_t second) {
      if (second <= at_.step || second >= steps.size() || steps[at_.step] == steps[second]) return;
      Mutant mutant = fresh(mutation, second);
      std::swap(list(mutant)[at_.step], list(mutant)[second]);
      use_(mutant);
    };
    swap_with(Mutation::swap_neighbours, at_.step + 1);
    for (int pick = 0; pick < 3; ++pick) {
      swap_with(Mutation::swap_distant, at_.step + 2 + static_cast<std::uint32_t>(random_() % 8));
    }
    if (steps[at_.step].kind != Kind::recv) return;
    for (std::uint32_t second = at_.step + 1; second < steps.size(); ++second) {
      if (steps[second].kind == Kind::recv) swap_with(Mutation::swap_receives, second);
    }
  }

  void change_message(const Step& step) {
    for (std::uint32_t by = 1; by < plan_.shape.size; ++by) {
      with_step(Mutation::change_peer, [&](Step& mutant) {
        mutant.peer = Position{(index(mutant.peer) + by) % plan_.shape.size};
      });
    }
    if (step.kind != Kind::send) return;
    const Place receiver = receiver_of(plan_, at_);
    for (const std::uint32_t by : {1U, ~0U}) {
      Mutant mutant = fresh(Mutation::shift_whole_message);
      Step& send = mutant.plan.positions[at_.position][at_.step];
      Step& recv = mutant.plan.positions[receiver.position][receiver.step];
      for (Slice* slice : {&send.source, &send.target, &recv.target}) slice->chunk += by;
      use_(mutant);
    }
    Mutant gone = fresh(Mutation::delete_whole_message);
    auto& from = gone.plan.positions[at_.position];
    auto& to = gone.plan.positions[receiver.position];
    from.erase(from.begin() + at_.step);
    to.erase(to.begin() + receiver.step);
    use_(gone);
  }

  const PlanSet& plan_;
  const std::function<void(const Mutant&)>& use_;
  Place at_;
  std::mt19937 random_{1};
};

}  // namespace

void for_each_mutant(const PlanSet& plan, const std::function<void(const Mutant&)>& use) {
  Mutator(plan, use).all();
}

bool may_swap(const std::vector<Step>& steps, std::uint32_t first, std::uint32_t second,
              bool in_place) {
  for (std::uint32_t between = first + 1; between <= second; ++between) {
    if (!independent(steps[first], steps[between], in_place)) return false;
    if (between < second && !independent(steps[between], steps[second], in_place)) return false;
  }
  return true;
}

bool reads_a_copy(const std::vector<Step>& steps, std::uint32_t number, const Step& changed) {
  Step moved = changed;
  moved.source.buffer = steps[number].source.buffer;
  if (moved != steps[number] || changed.source.buffer == Buffer::scratch) return false;
  if (moved.source.buffer == Buffer::scratch) return false;
  const Slice& read = changed.source;
  for (std::uint32_t before = number; before-- > 0;) {
    const Step& step = steps[before];
    if (step.kind == Kind::send || !overlap(step.target, read, true)) continue;
    if (step.target.buffer == Buffer::scratch) continue;
    return step.kind == Kind::copy && step.source.buffer == Buffer::input &&
           step.source.chunk == step.target.chunk && step.target.chunk <= read.chunk &&
           read.chunk + read.count <= step.target.chunk + step.target.count;
  }
  return false;
}

}  // namespace accl::test
