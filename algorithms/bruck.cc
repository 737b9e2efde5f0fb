// Allgather after Bruck, the reduce-scatter that is the same backwards (a circulant), and both in a
// row: ceil(log2 n) rounds a phase and optimal volume for every size. What is sent is a run of
// blocks that may go over the end of the vector, and then is two messages.
#include <algorithm>
#include <vector>

#include "algorithms/families.h"

namespace accl::families {
namespace {

// `count` blocks from block `first`, round the end; in at most two runs.
template <class Use>
void for_runs(std::uint32_t first, std::uint32_t count, std::uint32_t size, Use use) {
  first %= size;
  const std::uint32_t before_end = std::min(count, size - first);
  if (before_end > 0) use(first, before_end);
  if (count > before_end) use(0U, count - before_end);
}

struct Round {
  std::uint32_t have = 1;   // Blocks a position holds before it (in the allgather's direction).
  std::uint32_t count = 0;  // Blocks that move.
};

std::vector<Round> rounds(std::uint32_t size) {
  std::vector<Round> all;
  for (std::uint32_t have = 1; have < size; have *= 2) {
    all.push_back({have, std::min(have, size - have)});
  }
  return all;
}

// Position p collects p, p+1, ...: in each round what its neighbour at distance `have` has. Of
// positions that exchange something never two neighbours both have two runs, so sending both
// before receiving cannot go round in a circle, even with one message under way at a time.
void emit_allgather_rounds(std::uint32_t size, std::uint32_t seat, Buffer from, StepList& list) {
  for (const Round& round : rounds(size)) {
    const Position ahead{(seat + round.have) % size};
    const Position behind{(seat + size - round.have) % size};
    const Buffer source = round.have == 1 ? from : Buffer::output;
    for_runs(seat, round.count, size, [&](std::uint32_t first, std::uint32_t count) {
      list.send({source, first, count}, behind, output(first, count));
    });
    if (source == Buffer::input) list.copy(output(seat), input(seat));
    for_runs(seat + round.have, round.count, size, [&](std::uint32_t first, std::uint32_t count) {
      list.recv(output(first, count), ahead);
    });
  }
}

// The allgather backwards: partial sums of the blocks from seat + have on go to that neighbour.
class CirculantReduceScatter {
 public:
  CirculantReduceScatter(std::uint32_t size, std::uint32_t seat, bool own_only, StepList& list)
      : size_(size), seat_(seat), own_only_(own_only), list_(list) {}

  void emit() {
    const std::vector<Round> all = rounds(size_);
    for (std::size_t left = all.size(); left-- > 0;) {
      ++layer_;
      exchange(all[left]);
      summed_ = std::max(summed_, all[left].count);
    }
  }

 private:
  void exchange(const Round& round) {
    const Position ahead{(seat_ + round.have) % size_};
    const Position behind{(seat_ + size_ - round.have) % size_};
    const std::uint32_t end = round.have + round.count;
    // Where some of what goes is a sum and some still plain input, the rest joins the sums (in
    // place that costs nothing), for the sake of one message.
    const bool sums = summed_ > round.have;
    if (sums && summed_ < end) {
      for_runs(seat_ + summed_, end - summed_, size_,
               [&](std::uint32_t first, std::uint32_t count) {
                 list_.copy(at(true, first, count), at(false, first, count));
               });
    }
    for_runs(seat_ + round.have, round.count, size_, [&](std::uint32_t first, std::uint32_t count) {
      list_.send(at(sums, first, count), ahead, landing(first, count));
    });
    for_runs(seat_, round.count, size_, [&](std::uint32_t first, std::uint32_t count) {
      list_.recv(landing(first, count), behind);
      const std::uint32_t begin = (first + size_ - seat_) % size_;
      const std::uint32_t old = std::clamp(summed_, begin, begin + count) - begin;
      add(true, first, old, round);
      add(false, first + old, count - old, round);
    });
  }

  // Adds what has landed of these blocks to sums, or to plain input.
  void add(bool summed, std::uint32_t first, std::uint32_t count, const Round& round) {
    if (count == 0) return;
    const bool final = round.have == 1 && own_only_;
    list_.reduce(final ? output(seat_) : at(true, first, count), at(summed, first, count),
                 landing(first, count));
  }

  Slice at(bool summed, std::uint32_t first, std::uint32_t count) const {
    if (!summed) return input(first, count);
    return own_only_ ? scratch(first, count) : output(first, count);
  }
  Slice landing(std::uint32_t first, std::uint32_t count) const {
    return scratch(layer_ * size_ + first, count);
  }

  std::uint32_t size_;
  std::uint32_t seat_;
  bool own_only_;
  StepList& list_;
  std::uint32_t layer_ = 0;
  std::uint32_t summed_ = 0;  // Blocks seat .. seat + summed - 1 hold sums.
};

}  // namespace

void allreduce_bruck(const Shape& shape, Position position, StepList& list) {
  if (shape.size == 1) return list.copy(output(0), input(0));
  CirculantReduceScatter(shape.size, index(position), false, list).emit();
  emit_allgather_rounds(shape.size, index(position), Buffer::output, list);
}

void reduce_scatter_bruck(const Shape& shape, Position position, StepList& list) {
  if (shape.size == 1) return list.copy(output(0), input(0));
  CirculantReduceScatter(shape.size, index(position), true, list).emit();
}

void allgather_bruck(const Shape& shape, Position position, StepList& list) {
  if (shape.size == 1) return list.copy(output(0), input(0));
  emit_allgather_rounds(shape.size, index(position), Buffer::input, list);
}

}  // namespace accl::families
