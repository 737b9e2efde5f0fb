// Everyone talks to whom it concerns, without relays: one round. Best where messages are tiny and
// the medium is shared memory, or where the data has one receiver anyway.
#include "algorithms/families.h"
#include "algorithms/grid.h"

namespace accl::families {
namespace {

Grid all_to_all(const Shape& shape, Position position) {
  return {.dimensions = {{.stride = 1, .radix = shape.size, .direct = true}},
          .chunks = shape.size,
          .index = index(position)};
}

}  // namespace

// All whole vectors to all. They are added in the order of positions everywhere, whatever order
// they come in: one addition tree. The own vector is one operand among the others.
void allreduce_one_shot(const Shape& shape, Position position, StepList& list) {
  if (shape.size == 1) return list.copy(output(0), input(0));
  const std::uint32_t own = index(position);
  for (std::uint32_t ahead = 1; ahead < shape.size; ++ahead) {
    list.send(input(0), Position{(own + ahead) % shape.size}, scratch(own));
  }
  const auto operand = [&](std::uint32_t seat) { return seat == own ? input(0) : scratch(seat); };
  const auto take = [&](std::uint32_t seat) {
    if (seat != own) list.recv(scratch(seat), Position{seat});
  };
  // The own input must survive in the output's memory until it is its turn, so the sum of those
  // before it grows in scratch.
  Slice sum = operand(0);
  take(0);
  for (std::uint32_t seat = 1; seat < shape.size; ++seat) {
    take(seat);
    const Slice target = seat < own ? scratch(own) : output(0);
    list.reduce(target, sum, operand(seat));
    sum = target;
  }
}

void reduce_scatter_pairwise(const Shape& shape, Position position, StepList& list) {
  if (shape.size == 1) return list.copy(output(0), input(0));
  emit_reduce_scatter(all_to_all(shape, position), Buffer::input, Keep::own, list);
}

void allgather_direct(const Shape& shape, Position position, StepList& list) {
  emit_allgather(all_to_all(shape, position), Buffer::input, list);
}

void gather_direct(const Shape& shape, Position position, StepList& list) {
  const std::uint32_t own = index(position);
  if (position != shape.root) return list.send(input(own), shape.root, output(own));
  list.copy(output(own), input(own));
  for (std::uint32_t ahead = 1; ahead < shape.size; ++ahead) {
    const std::uint32_t peer = (own + ahead) % shape.size;
    list.recv(output(peer), Position{peer});
  }
}

void scatter_direct(const Shape& shape, Position position, StepList& list) {
  const std::uint32_t own = index(position);
  if (position != shape.root) return list.recv(output(own), shape.root);
  for (std::uint32_t ahead = 1; ahead < shape.size; ++ahead) {
    const std::uint32_t peer = (own + ahead) % shape.size;
    list.send(input(peer), Position{peer}, output(peer));
  }
  list.copy(output(own), input(own));
}

void sendrecv_direct(const Shape& shape, Position position, StepList& list) {
  if (shape.size == 1) return list.copy(output(0), input(0));
  const std::uint32_t own = index(position);
  list.send(input(0), Position{(own + 1) % shape.size}, output(0));
  list.recv(output(0), Position{(own + shape.size - 1) % shape.size});
}

}  // namespace accl::families
