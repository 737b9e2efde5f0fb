#include "tests/algorithms/interpreter.h"

#include <fmt/format.h>

#include <bit>
#include <deque>
#include <map>
#include <random>

namespace accl::test {
namespace {

using Numbers = std::vector<std::uint64_t>;

// One position's memory: element offsets by chunk, and what lies there.
class Seat {
 public:
  Seat(const PlanSet& plan, std::uint32_t position, bool in_place, std::mt19937_64& random)
      : plan_(plan), in_place_(in_place) {
    offsets_.push_back(0);
    for (std::uint32_t chunk = 0; chunk < plan.chunks; ++chunk) {
      offsets_.push_back(offsets_.back() + elements(chunk));
    }
    // Whatever nobody wrote is noise, and so shows.
    for (Numbers* buffer : {&input_, &output_}) {
      for (std::size_t each = 0; each < offsets_.back(); ++each) buffer->push_back(random());
    }
    noise_ = random();
    given_ = granted(plan.collective, plan.shape, plan.chunks, Position{position}, Buffer::input);
    if (in_place) output_ = input_;
  }

  std::uint64_t* at(const Slice& slice) {
    const std::size_t layer = slice.chunk / plan_.chunks;
    const std::size_t offset = offsets_[slice.chunk % plan_.chunks];
    if (slice.buffer == Buffer::output || (slice.buffer == Buffer::input && in_place_)) {
      return output_.data() + offset;
    }
    if (slice.buffer == Buffer::input) return input_.data() + offset;
    Numbers& scratch = layers_[layer];
    while (scratch.size() < offsets_.back()) scratch.push_back(noise_ + scratch.size() + layer);
    return scratch.data() + offset;
  }

  std::size_t length(const Slice& slice) const {
    const std::uint32_t first = slice.chunk % plan_.chunks;
    return offsets_[first + slice.count] - offsets_[first];
  }

 private:
  // Sizes differ from chunk to chunk wherever the library's may.
  std::size_t elements(std::uint32_t chunk) const {
    const bool all_alike =
        plan_.collective == Collective::alltoall || plan_.collective == Collective::alltoallv;
    return all_alike ? 2 : 1 + chunk % 3;
  }

  const PlanSet& plan_;
  bool in_place_;
  std::vector<std::size_t> offsets_;
  Numbers input_, output_;
  std::map<std::size_t, Numbers> layers_;
  std::uint64_t noise_ = 0;
  Slice given_;
};

std::uint64_t add(Collective collective, std::uint64_t one, std::uint64_t other) {
  if (collective == Collective::barrier) return one | other;
  if (collective != Collective::allreduce) return one + other;
  // In floating point the order of additions shows in the last bits.
  return std::bit_cast<std::uint64_t>(std::bit_cast<double>(one) + std::bit_cast<double>(other));
}

class Interpreter {
 public:
  Interpreter(const PlanSet& plan, bool in_place, std::uint64_t seed)
      : plan_(plan), random_(seed), next_(plan.shape.size) {
    window_ = std::array<std::size_t, 3>{1, 2, 1000}[seed % 3];
    for (std::uint32_t position = 0; position < plan.shape.size; ++position) {
      seats_.emplace_back(plan, position, in_place, random_);
      fill_input(position);
    }
  }

  std::optional<std::string> run() {
    std::vector<std::uint32_t> left;
    for (std::uint32_t position = 0; position < plan_.shape.size; ++position) {
      if (!plan_.positions[position].empty()) left.push_back(position);
    }
    std::size_t idle = 0;
    while (!left.empty()) {
      const std::size_t pick = idle > 0 ? (last_ + 1) % left.size() : random_() % left.size();
      last_ = pick;
      const std::uint32_t position = left[pick];
      if (!advance(position)) {
        if (++idle > left.size()) return "gets stuck";
        continue;
      }
      idle = 0;
      if (++next_[position] < plan_.positions[position].size()) continue;
      left.erase(left.begin() + static_cast<std::ptrdiff_t>(pick));
    }
    return judge();
  }

 private:
  Slice whole(Position position, Buffer buffer) const {
    return granted(plan_.collective, plan_.shape, plan_.chunks, position, buffer);
  }

  void fill_input(std::uint32_t position) {
    std::map<std::uint32_t, Numbers>& mine = inputs_[position];
    const Slice given = whole(Position{position}, Buffer::input);
    for (std::uint32_t chunk = given.chunk; chunk < given.chunk + given.count; ++chunk) {
      std::uint64_t* data = seats_[position].at(input(chunk));
      for (std::size_t each = 0; each < seats_[position].length(input(chunk)); ++each) {
        data[each] = random_();
        if (plan_.collective == Collective::barrier) data[each] = std::uint64_t{1} << position;
        if (plan_.collective == Collective::allreduce) {
          const double value = std::uniform_real_distribution<double>(0.5, 4)(random_);
          data[each] = std::bit_cast<std::uint64_t>(value);
        }
        mine[chunk].push_back(data[each]);
      }
    }
  }

  // One step, if the window and what has arrived allow it.
  bool advance(std::uint32_t position) {
    const Step& step = plan_.positions[position][next_[position]];
    Seat& seat = seats_[position];
    const std::size_t length = seat.length(step.target);
    std::uint64_t* const target = step.kind == Step::Kind::send ? nullptr : seat.at(step.target);
    const std::uint64_t* source = seat.at(step.source);
    switch (step.kind) {
      case Step::Kind::copy: {
        const Numbers read(source, source + length);
        std::ranges::copy(read, target);
        return true;
      }
      case Step::Kind::reduce: {
        const std::uint64_t* other = seat.at(step.other);
        for (std::size_t each = 0; each < length; ++each) {
          target[each] = add(plan_.collective, source[each], other[each]);
        }
        return true;
      }
      case Step::Kind::send: {
        auto& queue = under_way_[{position, index(step.peer)}];
        if (queue.size() >= window_) return false;
        queue.emplace_back(source, source + seat.length(step.source));
        return true;
      }
      case Step::Kind::recv: {
        auto& queue = under_way_[{index(step.peer), position}];
        if (queue.empty()) return false;
        std::ranges::copy(queue.front(), target);
        queue.pop_front();
        return true;
      }
    }
    return false;
  }

  std::optional<std::string> judge() {
    for (std::uint32_t position = 0; position < plan_.shape.size; ++position) {
      const Slice out = whole(Position{position}, Buffer::output);
      for (std::uint32_t chunk = out.chunk; chunk < out.chunk + out.count; ++chunk) {
        const std::uint64_t* data = seats_[position].at(output(chunk));
        const Numbers have(data, data + seats_[position].length(output(chunk)));
        const std::string name = fmt::format("position {} output chunk {}", position, chunk);
        if (!is_right(position, chunk, have)) return name + " is wrong";
        const std::uint64_t* first = seats_[0].at(output(chunk));
        if (plan_.collective == Collective::allreduce &&
            !std::ranges::equal(have, std::span(first, have.size()))) {
          return name + " differs in bits from position 0's";
        }
      }
    }
    return {};
  }

  bool is_right(std::uint32_t position, std::uint32_t chunk, const Numbers& have) {
    const std::uint32_t size = plan_.shape.size;
    const std::uint32_t each = std::max(plan_.chunks / size, 1U);
    switch (plan_.collective) {
      case Collective::allreduce:
      case Collective::reduce:
      case Collective::reduce_scatter:
      case Collective::barrier:
        return is_sum(chunk, have);
      case Collective::broadcast:
      case Collective::scatter:
        return have == inputs_[index(plan_.shape.root)][chunk];
      case Collective::allgather:
      case Collective::gather:
        return have == inputs_[chunk / each][chunk];
      case Collective::alltoall:
      case Collective::alltoallv:
        return have == inputs_[chunk / each][position * each + chunk % each];
      case Collective::sendrecv:
        return have == inputs_[(position + size - 1) % size][chunk];
    }
    return false;
  }

  bool is_sum(std::uint32_t chunk, const Numbers& have) {
    Numbers sum = inputs_[0][chunk];
    for (std::uint32_t other = 1; other < plan_.shape.size; ++other) {
      for (std::size_t each = 0; each < sum.size(); ++each) {
        sum[each] = add(plan_.collective, sum[each], inputs_[other][chunk][each]);
      }
    }
    if (plan_.collective != Collective::allreduce) return sum == have;
    for (std::size_t each = 0; each < sum.size(); ++each) {
      const double difference =
          std::bit_cast<double>(sum[each]) - std::bit_cast<double>(have[each]);
      if (!(std::abs(difference) < 1e-9)) return false;
    }
    return true;
  }

  const PlanSet& plan_;
  std::mt19937_64 random_;
  std::size_t window_ = 1;
  std::size_t last_ = 0;
  std::vector<std::size_t> next_;
  std::vector<Seat> seats_;
  std::map<std::uint32_t, std::map<std::uint32_t, Numbers>> inputs_;  // [position][chunk]
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::deque<Numbers>> under_way_;
};

}  // namespace

std::optional<std::string> run_plan(const PlanSet& plan, bool in_place, std::uint64_t seed) {
  return Interpreter(plan, in_place, seed).run();
}

}  // namespace accl::test
