// Binomial trees, log2(n) rounds: broadcast, reduce, gather and scatter of small messages. Places
// count from the root. Place v > 0 hangs under v without its lowest set bit, and its subtree is the
// places [v, v + lowest bit), cut off at n.
#include <algorithm>
#include <bit>

#include "algorithms/families.h"

namespace accl::families {
namespace {

// Blocks of places before, and of those from, the place of position 0.
enum class Half : std::uint8_t { before_end, after_end };

class Tree {
 public:
  Tree(const Shape& shape, Position position) : size_(shape.size), root_(index(shape.root)) {
    place_ = (index(position) + size_ - root_) % size_;
    reach_ = place_ == 0 ? std::bit_ceil(size_) : place_ & (~place_ + 1);
  }

  bool is_root() const { return place_ == 0; }
  bool is_leaf() const { return reach_ == 1 || place_ + 1 >= size_; }
  Position parent() const { return seat(place_ & (place_ - 1)); }
  Position seat(std::uint32_t place) const { return Position{(place + root_) % size_}; }
  Position child(std::uint32_t distance) const { return seat(place_ + distance); }
  bool has_child(std::uint32_t distance) const {
    return distance < reach_ && place_ + distance < size_;
  }
  // Where this position is in its parent's list of children.
  std::uint32_t number_at_parent() const {
    return static_cast<std::uint32_t>(std::countr_zero(place_));
  }

  // Distances of the children whose subtrees are smallest, or largest, first.
  std::vector<std::uint32_t> distances(bool smallest_first) const {
    std::vector<std::uint32_t> all;
    for (std::uint32_t distance = 1; has_child(distance); distance *= 2) all.push_back(distance);
    if (!smallest_first) std::ranges::reverse(all);
    return all;
  }

  // The blocks of the subtree `distance` places below (0: of this whole one) are one run, or two
  // where they go over the end of the vector. This is the run in that half; count 0: none.
  Slice run(std::uint32_t distance, Half half, Buffer buffer) const {
    const std::uint32_t begin = place_ + distance;
    const std::uint32_t end = std::min(size_, begin + (distance == 0 ? reach_ : distance));
    const std::uint32_t turn = size_ - root_;  // The place of position 0.
    if (half == Half::before_end) {
      return {buffer, begin + root_, begin < turn ? std::min(end, turn) - begin : 0};
    }
    const std::uint32_t first = std::max(begin, turn);
    return {buffer, first - turn, end > first ? end - first : 0};
  }
  // Whether the child `distance` places below has nobody below it.
  bool child_is_leaf(std::uint32_t distance) const {
    return distance == 1 || place_ + distance + 1 >= size_;
  }

 private:
  std::uint32_t size_;
  std::uint32_t root_;
  std::uint32_t place_ = 0;
  std::uint32_t reach_ = 1;
};

}  // namespace

void broadcast_binomial(const Shape& shape, Position position, StepList& list) {
  const Tree tree(shape, position);
  if (!tree.is_root()) list.recv(output(0), tree.parent());
  for (const std::uint32_t distance : tree.distances(false)) {
    list.send(tree.is_root() ? input(0) : output(0), tree.child(distance), output(0));
  }
  if (tree.is_root()) list.copy(output(0), input(0));
}

// Layer 0 is the sum of a position that is not the root; child number k lands in layer k + 1.
void reduce_binomial(const Shape& shape, Position position, StepList& list) {
  if (shape.size == 1) return list.copy(output(0), input(0));
  const Tree tree(shape, position);
  const Slice sum = tree.is_root() ? output(0) : scratch(0);
  Slice held = input(0);
  std::uint32_t layer = 1;
  for (const std::uint32_t distance : tree.distances(true)) {
    const Slice landing = scratch(layer++);
    list.recv(landing, tree.child(distance));
    list.reduce(sum, held, landing);
    held = sum;
  }
  if (!tree.is_root()) list.send(held, tree.parent(), scratch(tree.number_at_parent() + 1));
}

// Blocks travel in runs; inner places collect theirs in scratch. One half of the vector goes all
// its way before the other comes, so that what waits in scratch never keeps out what it waits for.
void gather_binomial(const Shape& shape, Position position, StepList& list) {
  const Tree tree(shape, position);
  const std::uint32_t own = index(position);
  const Buffer here = tree.is_root() ? Buffer::output : Buffer::scratch;
  const Buffer from = tree.is_leaf() ? Buffer::input : here;
  const bool below_root = tree.is_root() || tree.parent() == shape.root;
  const Buffer at_parent = below_root ? Buffer::output : Buffer::scratch;
  if (tree.is_root() || !tree.is_leaf()) list.copy({here, own, 1}, input(own));
  for (const Half half : {Half::before_end, Half::after_end}) {
    for (const std::uint32_t distance : tree.distances(true)) {
      const Slice run = tree.run(distance, half, here);
      if (run.count > 0) list.recv(run, tree.child(distance));
    }
    const Slice all = tree.run(0, half, from);
    if (tree.is_root() || all.count == 0) continue;
    list.send(all, tree.parent(), {at_parent, all.chunk, all.count});
  }
}

void scatter_binomial(const Shape& shape, Position position, StepList& list) {
  const Tree tree(shape, position);
  const std::uint32_t own = index(position);
  if (tree.is_leaf() && !tree.is_root()) return list.recv(output(own), tree.parent());
  const Buffer here = tree.is_root() ? Buffer::input : Buffer::scratch;
  for (const Half half : {Half::after_end, Half::before_end}) {
    const Slice all = tree.run(0, half, here);
    if (!tree.is_root() && all.count > 0) list.recv(all, tree.parent());
    for (const std::uint32_t distance : tree.distances(false)) {
      const Slice run = tree.run(distance, half, here);
      const Buffer at_child = tree.child_is_leaf(distance) ? Buffer::output : Buffer::scratch;
      if (run.count == 0) continue;
      list.send(run, tree.child(distance), {at_child, run.chunk, run.count});
    }
  }
  list.copy(output(own), {here, own, 1});
}

}  // namespace accl::families
