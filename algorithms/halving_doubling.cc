// Halving-doubling: a reduce-scatter in which partners exchange halves of what they still hold, and
// an allgather that retraces it. 2 log2(n) rounds and optimal volume. Whether the wires are shared
// is a matter of which rank sits where (HDRM is this under an order made by the topology module).
//
// An even size n = 2f * 2^m with f odd is a ring of 2f times m exchanges, still of optimal volume:
// in 2f - 1 + m rounds a phase (for f = 1 the ring of 2 is the exchange of distance 1). An odd size
// folds: partners 2i and 2i+1 add up first, so that 2^floor(log2 n) are left, and hand back last.
#include <algorithm>
#include <bit>

#include "algorithms/families.h"
#include "algorithms/grid.h"

namespace accl::families {
namespace {

std::vector<Dimension> exchanges(std::uint32_t size, First first) {
  std::vector<Dimension> dimensions;
  std::uint32_t stride = size >> (std::countr_zero(size) - 1);
  dimensions.push_back({.stride = 1, .radix = stride});
  for (; stride < size; stride *= 2) dimensions.push_back({.stride = stride, .radix = 2});
  if (first == First::far) std::ranges::reverse(dimensions);
  return dimensions;
}

Grid grid_of(std::uint32_t size, std::uint32_t index, First first) {
  Grid grid{.dimensions = {}, .chunks = size, .index = index};
  if (size > 1) grid.dimensions = exchanges(size, first);
  return grid;
}

void allreduce_folded(const Shape& shape, Position position, StepList& list) {
  const std::uint32_t core = std::bit_floor(shape.size);
  const std::uint32_t folded = shape.size - core;
  const std::uint32_t seat = index(position);
  const bool in_pair = seat < 2 * folded;
  const Slice landing = scratch(0, core);
  if (in_pair && seat % 2 == 1) {
    list.send(input(0, core), Position{seat - 1}, landing);
    return list.recv(output(0, core), Position{seat - 1});
  }
  Grid grid = grid_of(core, in_pair ? seat / 2 : seat - folded, shape.first);
  grid.folded = folded;
  if (in_pair) {
    list.recv(landing, Position{seat + 1});
    list.reduce(output(0, core), input(0, core), landing);
  }
  emit_reduce_scatter(grid, in_pair ? Buffer::output : Buffer::input, Keep::output, list);
  emit_allgather(grid, Buffer::output, list);
  if (in_pair) list.send(output(0, core), Position{seat + 1}, output(0, core));
}

}  // namespace

std::uint32_t halving_doubling_chunks(const Shape& shape) {
  return shape.size % 2 == 0 ? shape.size : std::bit_floor(shape.size);
}

void allreduce_halving_doubling(const Shape& shape, Position position, StepList& list) {
  if (shape.size == 1) return list.copy(output(0), input(0));
  if (shape.size % 2 == 1) return allreduce_folded(shape, position, list);
  const Grid grid = grid_of(shape.size, index(position), shape.first);
  emit_reduce_scatter(grid, Buffer::input, Keep::output, list);
  emit_allgather(grid, Buffer::output, list);
}

// These two go by the far distance first (last in the allgather), whatever the shape says: only so
// the blocks of a region, which have fixed owners here, are one run and one message.
void reduce_scatter_halving(const Shape& shape, Position position, StepList& list) {
  if (shape.size == 1) return list.copy(output(0), input(0));
  const Grid grid = grid_of(shape.size, index(position), First::far);
  emit_reduce_scatter(grid, Buffer::input, Keep::own, list);
}

void allgather_doubling(const Shape& shape, Position position, StepList& list) {
  emit_allgather(grid_of(shape.size, index(position), First::far), Buffer::input, list);
}

}  // namespace accl::families
