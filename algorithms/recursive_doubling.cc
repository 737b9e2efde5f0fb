// Recursive doubling: partners swap their whole vectors and both add them up, log2(n) rounds. For
// small messages, where a round costs more than its bytes. Both partners add the same two values
// and addition commutes to the bit, so all end with the same addition tree. Other sizes fold as in
// halving_doubling.cc.
#include <bit>

#include "algorithms/families.h"

namespace accl::families {

void allreduce_recursive_doubling(const Shape& shape, Position position, StepList& list) {
  if (shape.size == 1) return list.copy(output(0), input(0));
  const std::uint32_t core = std::bit_floor(shape.size);
  const std::uint32_t folded = shape.size - core;
  const std::uint32_t seat = index(position);
  const bool in_pair = seat < 2 * folded;
  if (in_pair && seat % 2 == 1) {
    list.send(input(0), Position{seat - 1}, scratch(0));
    return list.recv(output(0), Position{seat - 1});
  }
  Slice held = input(0);
  const auto add = [&](Position peer, Slice landing) {
    list.recv(landing, peer);
    list.reduce(output(0), held, landing);
    held = output(0);
  };
  if (in_pair) add(Position{seat + 1}, scratch(0));
  const std::uint32_t place = in_pair ? seat / 2 : seat - folded;
  std::uint32_t layer = 1;
  for (std::uint32_t distance = 1; distance < core; distance *= 2, ++layer) {
    const std::uint32_t other = place ^ distance;
    const Position peer{other < folded ? 2 * other : other + folded};
    list.send(held, peer, scratch(layer));
    add(peer, scratch(layer));
  }
  if (in_pair) list.send(output(0), Position{seat + 1}, output(0));
}

// After round k every position has heard of the 2^(k+1) positions up to itself.
void barrier_dissemination(const Shape& shape, Position position, StepList& list) {
  if (shape.size == 1) return list.copy(output(0), input(0));
  Slice held = input(0);
  std::uint32_t layer = 0;
  for (std::uint32_t distance = 1; distance < shape.size; distance *= 2, ++layer) {
    const Position ahead{(index(position) + distance) % shape.size};
    const Position behind{(index(position) + shape.size - distance) % shape.size};
    list.send(held, ahead, scratch(layer));
    list.recv(scratch(layer), behind);
    list.reduce(output(0), held, scratch(layer));
    held = output(0);
  }
}

}  // namespace accl::families
