// Double binary tree (Sanders, Speck, Traeff): each half of the vector is reduced up a binary tree
// and broadcast down it. The leaves of one tree are the inner nodes of the other, so that nobody
// sends more than twice its half up and down, and depth is log2(n). In-order numbering: the node of
// label x is at the height of x's lowest set bit, label 0 is the root above the tree's top.
#include <array>
#include <bit>
#include <optional>

#include "algorithms/families.h"

namespace accl::families {
namespace {

struct Node {
  std::optional<Position> parent;
  std::vector<Position> children;
  bool leaf() const { return children.empty(); }
};

class Tree {
 public:
  Tree(std::uint32_t number, std::uint32_t size) : number_(number), size_(size) {}

  Node node_of(Position position) const {
    const std::uint32_t label = label_of(index(position));
    Node node;
    if (label == 0) {
      node.children.push_back(seat_of(std::bit_floor(size_ - 1)));
      return node;
    }
    const std::uint32_t low = label & (~label + 1);
    // The parent has the next higher lowest bit; where that label does not exist, the tree is cut
    // off on the right and the node hangs under its left neighbour of that height or more.
    const std::uint32_t above = (label ^ low) | (low << 1);
    node.parent = seat_of(above < size_ ? above : label ^ low);
    if (low > 1) node.children.push_back(seat_of(label - low / 2));
    for (std::uint32_t half = low / 2; half > 0; half /= 2) {
      if (label + half >= size_) continue;
      node.children.push_back(seat_of(label + half));
      break;
    }
    return node;
  }

 private:
  // The second tree is the first mirrored or, of odd size, moved by one: either way odd labels,
  // the leaves, change places with even ones.
  std::uint32_t label_of(std::uint32_t seat) const {
    if (number_ == 0) return seat;
    return size_ % 2 == 0 ? size_ - 1 - seat : (seat + size_ - 1) % size_;
  }
  Position seat_of(std::uint32_t label) const {
    if (number_ == 0) return Position{label};
    return Position{size_ % 2 == 0 ? size_ - 1 - label : (label + 1) % size_};
  }

  std::uint32_t number_;
  std::uint32_t size_;
};

// Chunk and tree have the same number. Layers: 0 and 1 for the two children.
void emit_up(const Node& node, std::uint32_t chunk, StepList& list) {
  constexpr std::uint32_t chunks = 2;
  Slice held = input(chunk);
  std::uint32_t layer = 0;
  for (const Position child : node.children) {
    const Slice landing = scratch(layer++ * chunks + chunk);
    list.recv(landing, child);
    list.reduce(output(chunk), held, landing);
    held = output(chunk);
  }
}

void emit_down(const Node& node, std::uint32_t chunk, StepList& list) {
  if (node.parent) list.recv(output(chunk), *node.parent);
  for (const Position child : node.children) list.send(output(chunk), child, output(chunk));
}

// The layer in which the parent takes this child's message.
std::uint32_t layer_at(const Tree& tree, Position parent, Position child) {
  const Node node = tree.node_of(parent);
  return node.children.front() == child ? 0 : 1;
}

}  // namespace

void allreduce_double_tree(const Shape& shape, Position position, StepList& list) {
  if (shape.size == 1) return list.copy(output(0, 2), input(0, 2));
  const std::array<Tree, 2> trees{Tree(0, shape.size), Tree(1, shape.size)};
  const std::array<Node, 2> nodes{trees[0].node_of(position), trees[1].node_of(position)};
  const auto send_up = [&](std::uint32_t tree) {
    if (!nodes[tree].parent) return;
    const std::uint32_t layer = layer_at(trees[tree], *nodes[tree].parent, position);
    list.send(nodes[tree].leaf() ? input(tree) : output(tree), *nodes[tree].parent,
              scratch(layer * 2 + tree));
  };
  // Order: up in tree 0, up in tree 1, down in tree 0, down in tree 1. A leaf has nothing to wait
  // for, so it sends before its work in the other tree, and takes its result after it; but the
  // order of two messages between the same two positions must not change.
  const bool same_parent = nodes[0].parent == nodes[1].parent;
  const bool second_leaf_first = nodes[1].leaf() && !same_parent;
  if (second_leaf_first) send_up(1);
  emit_up(nodes[0], 0, list);
  send_up(0);
  emit_up(nodes[1], 1, list);
  if (!second_leaf_first) send_up(1);
  const std::uint32_t first = nodes[0].leaf() && !same_parent ? 1 : 0;
  emit_down(nodes[first], first, list);
  emit_down(nodes[1 - first], 1 - first, list);
}

}  // namespace accl::families
