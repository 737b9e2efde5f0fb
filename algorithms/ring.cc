// Rings: bandwidth-optimal for every size, n - 1 rounds a phase. After the reduce-scatter position
// p holds chunk p. For positions in a line, all links carry the same load all the time.
#include "algorithms/families.h"
#include "algorithms/grid.h"

namespace accl::families {
namespace {

Grid ring_grid(const Shape& shape, Position position) {
  return {.dimensions = {{.stride = 1, .radix = shape.size}},
          .chunks = shape.size,
          .index = index(position)};
}

}  // namespace

void allreduce_ring(const Shape& shape, Position position, StepList& list) {
  if (shape.size == 1) return list.copy(output(0), input(0));
  const Grid grid = ring_grid(shape, position);
  emit_reduce_scatter(grid, Buffer::input, Keep::output, list);
  emit_allgather(grid, Buffer::output, list);
}

void reduce_scatter_ring(const Shape& shape, Position position, StepList& list) {
  if (shape.size == 1) return list.copy(output(0), input(0));
  emit_reduce_scatter(ring_grid(shape, position), Buffer::input, Keep::own, list);
}

void allgather_ring(const Shape& shape, Position position, StepList& list) {
  emit_allgather(ring_grid(shape, position), Buffer::input, list);
}

// A reduce-scatter, and each sends the root its chunk. The root's own chunk is in place already.
void reduce_ring(const Shape& shape, Position position, StepList& list) {
  if (shape.size == 1) return list.copy(output(0), input(0));
  const bool is_root = position == shape.root;
  emit_reduce_scatter(ring_grid(shape, position), Buffer::input,
                      is_root ? Keep::output : Keep::scratch, list);
  if (!is_root) return list.send(scratch(index(position)), shape.root, output(index(position)));
  for (std::uint32_t ahead = 1; ahead < shape.size; ++ahead) {
    const std::uint32_t peer = (index(shape.root) + ahead) % shape.size;
    list.recv(output(peer), Position{peer});
  }
}

// The root deals one chunk to each; then an allgather round the ring. The root takes part in that
// as a sender only: it has everything. Chunk v is dealt to the v-th position after the root.
void broadcast_scatter_ring(const Shape& shape, Position position, StepList& list) {
  const std::uint32_t size = shape.size;
  const std::uint32_t place = (index(position) + size - index(shape.root)) % size;
  const auto seat = [&](std::uint32_t other) {
    return Position{(other + index(shape.root)) % size};
  };
  if (place == 0) {
    // To the far end of the ring first: it passes its chunk on soonest.
    for (std::uint32_t other = size - 1; other > 0; --other) {
      list.send(input(other), seat(other), output(other));
    }
    for (std::uint32_t hop = 0; hop + 1 < size; ++hop) {
      const std::uint32_t chunk = (size - hop) % size;
      list.send(input(chunk), seat(1), output(chunk));
    }
    return list.copy(output(0, size), input(0, size));
  }
  list.recv(output(place), seat(0));
  for (std::uint32_t hop = 0; hop + 1 < size; ++hop) {
    const std::uint32_t out = (place + size - hop) % size;
    const std::uint32_t in = (place + size - 1 - hop) % size;
    if (place + 1 < size) list.send(output(out), seat(place + 1), output(out));
    list.recv(output(in), seat(place - 1));
  }
}

// One chunk, handed down the line; slices of it follow each other, so all links are busy.
void broadcast_chain(const Shape& shape, Position position, StepList& list) {
  const std::uint32_t size = shape.size;
  const std::uint32_t place = (index(position) + size - index(shape.root)) % size;
  const Position next{(index(position) + 1) % size};
  const Position previous{(index(position) + size - 1) % size};
  if (place > 0) list.recv(output(0), previous);
  if (place + 1 < size) list.send(place == 0 ? input(0) : output(0), next, output(0));
  if (place == 0) list.copy(output(0), input(0));
}

}  // namespace accl::families
