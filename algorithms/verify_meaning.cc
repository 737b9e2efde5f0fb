// Runs the plan on symbols: a chunk's value is whose contributions it holds. Chunks of different
// numbers never meet (find_shape_fault), so the run goes over some columns of the positions'
// memories at a time, and needs bounded memory. Where chunks of different numbers may meet, in
// alltoall, all columns are run at once.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "accl/base/mix.h"
#include "algorithms/verify_memory.h"
#include "algorithms/verify_parts.h"

namespace accl::verify {
namespace {

// A random number for what `position` contributes to `chunk`.
std::uint64_t contribution(std::uint32_t position, std::uint32_t chunk) {
  return mix((std::uint64_t{position} << 32 | chunk) + 1);
}

// A sum of contributions to one chunk. The random numbers of a multiset add up to another sum for
// another multiset, but for one chance in 2^64.
struct Sum {
  std::uint32_t count = 0;  // 0: unwritten.
  std::uint32_t chunk = 0;
  std::uint64_t members = 0;
  std::uint64_t tree = 0;  // The same for the same order of additions; blind to operand swaps.

  static Sum of(std::uint32_t position, std::uint32_t chunk, std::uint32_t /*size*/ = 0) {
    const std::uint64_t random = contribution(position, chunk);
    return {1, chunk, random, random};
  }
  bool written() const { return count > 0; }
  bool can_add(const Sum& other) const { return chunk == other.chunk; }
  Sum plus(const Sum& other) const {
    return {count + other.count, chunk, members + other.members,
            mix(std::min(tree, other.tree) * 3 + mix(std::max(tree, other.tree)))};
  }
};

// Who has been heard of: for a barrier, where twice does no harm.
struct Heard {
  std::vector<bool> who;

  static Heard of(std::uint32_t position, std::uint32_t /*chunk*/, std::uint32_t size) {
    Heard heard;
    heard.who.resize(size);
    heard.who[position] = true;
    return heard;
  }
  bool written() const { return !who.empty(); }
  bool can_add(const Heard&) const { return true; }
  Heard plus(const Heard& other) const {
    Heard both = *this;
    for (std::size_t each = 0; each < who.size(); ++each) {
      if (other.who[each]) both.who[each] = true;
    }
    return both;
  }
};

// What is wrong with the final value of an output chunk, compared with the promise.
// `total` is the sum of everyone's contributions to the chunk.
Fault judge(const PlanSet& plan, std::uint32_t position, std::uint32_t chunk, std::uint64_t total,
            const Sum& value) {
  const std::uint32_t size = plan.shape.size;
  const std::uint32_t each = std::max(plan.chunks / size, 1U);
  Sum promised = Sum::of(index(plan.shape.root), chunk);
  switch (plan.collective) {
    case Collective::allreduce:
    case Collective::reduce:
    case Collective::reduce_scatter:
      promised.count = size;
      promised.members = total;
      break;
    case Collective::allgather:
    case Collective::gather:
      promised = Sum::of(chunk / each, chunk, size);
      break;
    case Collective::alltoall:
    case Collective::alltoallv:
      promised = Sum::of(chunk / each, position * each + chunk % each);
      break;
    case Collective::sendrecv:
      promised = Sum::of((position + size - 1) % size, chunk);
      break;
    default:
      break;  // broadcast and scatter: the root's.
  }
  if (value.count == 0) return "is never written";
  if (value.count != promised.count) {
    return fmt::format("ends with {} of {} contributions", value.count, promised.count);
  }
  if (value.chunk != promised.chunk) return fmt::format("ends as chunk {}", value.chunk);
  if (value.members == promised.members) return {};
  return "ends with the wrong contributions";
}

Fault judge(const PlanSet& plan, std::uint32_t, std::uint32_t, std::uint64_t, const Heard& value) {
  const auto heard = static_cast<std::size_t>(std::ranges::count(value.who, true));
  if (heard == plan.shape.size) return {};
  return fmt::format("ends having heard of {} of {} positions", heard, plan.shape.size);
}

constexpr std::uint32_t nobody = std::numeric_limits<std::uint32_t>::max();

template <class Value>
struct Cell {
  Value value;
  std::uint32_t unread_from = nobody;  // The step that wrote it, until it is read.
};

template <class Value>
class Run {
 public:
  Run(const PlanSet& plan, const Wiring& wiring, const std::vector<Layout>& layouts, bool in_place)
      : plan_(plan), wiring_(wiring), layouts_(layouts), in_place_(in_place) {}

  // The columns [begin, end).
  Fault check(const std::vector<At>& order, std::uint32_t begin, std::uint32_t end) {
    begin_ = begin;
    end_ = end;
    prepare();
    for (const At& at : order) {
      if (const Fault fault = apply(at)) {
        return where(at.position, at.step) + *fault + (in_place_ ? " (in place)" : "");
      }
    }
    const Fault fault = judge_all();
    if (!fault || !in_place_) return fault;
    return *fault + " (in place)";
  }

 private:
  void prepare() {
    const std::uint32_t size = plan_.shape.size;
    payloads_.assign(wiring_.channels.size(), {});
    totals_.assign(end_ - begin_, 0);
    for (std::uint32_t chunk = begin_; chunk < end_; ++chunk) {
      for (std::uint32_t position = 0; position < size; ++position) {
        totals_[chunk - begin_] += contribution(position, chunk);
      }
    }
    memories_.clear();
    for (std::uint32_t position = 0; position < size; ++position) {
      memories_.emplace_back(layouts_[position], plan_.chunks, in_place_, begin_, end_);
      const Slice given =
          granted(plan_.collective, plan_.shape, plan_.chunks, Position{position}, Buffer::input);
      std::uint32_t chunk = std::max(given.chunk, begin_);
      for (Cell<Value>& cell : cells(position, given)) {
        cell.value = Value::of(position, chunk++, size);
      }
    }
  }

  std::span<Cell<Value>> cells(std::uint32_t position, const Slice& slice) {
    return memories_[position].at(slice);
  }

  Fault apply(const At& at) {
    const Step& step = plan_.positions[at.position][at.step];
    switch (step.kind) {
      case Step::Kind::copy:
        return copy(at, step);
      case Step::Kind::reduce:
        return reduce(at, step);
      case Step::Kind::send:
        return send(at, step);
      case Step::Kind::recv:
        return receive(at, step);
    }
    return {};
  }

  Fault copy(const At& at, const Step& step) {
    const auto source = cells(at.position, step.source);
    const auto target = cells(at.position, step.target);
    if (!source.empty() && source.data() == target.data()) return {};  // In place: nothing to do.
    for (std::size_t each = 0; each < source.size(); ++each) {
      if (const Fault fault = read(source[each])) return fault;
      if (const Fault fault = write(target[each], source[each].value, at.step)) return fault;
      if (const Fault fault = judge_early(at.position, step, each, source[each].value))
        return fault;
    }
    return {};
  }

  Fault reduce(const At& at, const Step& step) {
    const auto source = cells(at.position, step.source);
    const auto other = cells(at.position, step.other);
    const auto target = cells(at.position, step.target);
    for (std::size_t each = 0; each < source.size(); ++each) {
      if (const Fault fault = read(source[each])) return fault;
      if (const Fault fault = read(other[each])) return fault;
      if (!source[each].value.can_add(other[each].value)) return "adds different chunks";
      const Value sum = source[each].value.plus(other[each].value);
      if (const Fault fault = write(target[each], sum, at.step)) return fault;
    }
    return {};
  }

  Fault send(const At& at, const Step& step) {
    std::vector<Value>& payload = payloads_[wiring_.channel_of[at.position][at.step]];
    payload.clear();
    for (Cell<Value>& cell : cells(at.position, step.source)) {
      if (const Fault fault = read(cell)) return fault;
      payload.push_back(cell.value);
    }
    return {};
  }

  Fault receive(const At& at, const Step& step) {
    const std::vector<Value>& payload = payloads_[wiring_.channel_of[at.position][at.step]];
    const auto target = cells(at.position, step.target);
    for (std::size_t each = 0; each < target.size(); ++each) {
      if (const Fault fault = write(target[each], payload[each], at.step)) return fault;
      if (const Fault fault = judge_early(at.position, step, each, payload[each])) return fault;
    }
    return {};
  }

  Fault read(Cell<Value>& cell) const {
    if (!cell.value.written()) return "reads a chunk nobody wrote";
    cell.unread_from = nobody;
    return {};
  }

  Fault write(Cell<Value>& cell, const Value& value, std::uint32_t step) const {
    if (cell.unread_from != nobody) {
      return fmt::format("overwrites what step {} wrote and nobody read", cell.unread_from);
    }
    cell = {value, step};
    return {};
  }

  // In alltoallv a chunk has room for its own block only, from the first write on.
  Fault judge_early(std::uint32_t position, const Step& step, std::size_t number,
                    const Value& value) const {
    if (plan_.collective != Collective::alltoallv) return {};
    const auto chunk = static_cast<std::uint32_t>(step.target.chunk + number);
    const Fault fault = judge(plan_, position, chunk, 0, value);
    if (!fault) return {};
    return fmt::format("output chunk {} has no room for this: it {}", chunk, *fault);
  }

  Fault judge_all() {
    for (std::uint32_t position = 0; position < plan_.shape.size; ++position) {
      if (const Fault fault = judge_outputs(position)) return fault;
      for (const Cell<Value>& cell : memories_[position].all()) {
        if (cell.unread_from == nobody) continue;
        return where(position, cell.unread_from) + "nobody reads what it writes";
      }
    }
    return {};
  }

  Fault judge_outputs(std::uint32_t position) {
    const Slice own =
        granted(plan_.collective, plan_.shape, plan_.chunks, Position{position}, Buffer::output);
    for (std::uint32_t chunk = std::max(own.chunk, begin_);
         chunk < std::min(own.chunk + own.count, end_); ++chunk) {
      Cell<Value>& cell = cells(position, output(chunk)).front();
      cell.unread_from = nobody;
      Fault fault = judge(plan_, position, chunk, totals_[chunk - begin_], cell.value);
      if (!fault) fault = compare_order(chunk, cell.value);
      if (fault) return fmt::format("position {}: output chunk {} {}", position, chunk, *fault);
    }
    return {};
  }

  Fault compare_order(std::uint32_t chunk, const Value& value) {
    if constexpr (std::is_same_v<Value, Sum>) {
      if (plan_.collective != Collective::allreduce) return {};
      const Value& first = cells(0, output(chunk)).front().value;
      if (first.tree != value.tree) return "is added in another order than at position 0";
    }
    return {};
  }

  const PlanSet& plan_;
  const Wiring& wiring_;
  const std::vector<Layout>& layouts_;
  bool in_place_;
  std::uint32_t begin_ = 0;
  std::uint32_t end_ = 0;
  std::vector<std::uint64_t> totals_;  // Of everyone's contributions, by column.
  std::vector<Memory<Cell<Value>>> memories_;
  std::vector<std::vector<Value>> payloads_;  // One message under way per channel.
};

bool has_in_place(Collective collective) {
  return collective != Collective::alltoall && collective != Collective::alltoallv &&
         collective != Collective::sendrecv;
}

template <class Value>
Fault check_all(const PlanSet& plan, const Wiring& wiring, const std::vector<At>& order) {
  constexpr std::uint64_t most_cells = 4'000'000;
  std::vector<Layout> layouts;
  std::uint64_t all = 1;
  for (std::uint32_t position = 0; position < plan.positions.size(); ++position) {
    layouts.emplace_back(plan, position);
    all += layouts.back().cell_count();
  }
  const std::uint64_t runs = 1 + all / most_cells;
  auto width = static_cast<std::uint32_t>((plan.chunks + runs - 1) / runs);
  if (plan.collective == Collective::alltoall || plan.collective == Collective::alltoallv) {
    width = plan.chunks;
  }
  for (const bool in_place : {false, true}) {
    if (in_place && !has_in_place(plan.collective)) continue;
    Run<Value> run(plan, wiring, layouts, in_place);
    for (std::uint32_t begin = 0; begin < plan.chunks; begin += width) {
      const std::uint32_t end = std::min(begin + width, plan.chunks);
      if (const Fault fault = run.check(order, begin, end)) return fault;
    }
  }
  return {};
}

}  // namespace

Fault find_meaning_fault(const PlanSet& plan, const Wiring& wiring, const std::vector<At>& order) {
  if (plan.collective == Collective::barrier) return check_all<Heard>(plan, wiring, order);
  return check_all<Sum>(plan, wiring, order);
}

}  // namespace accl::verify
