// Two levels: a reduce-scatter among the positions of a host, where all talk to all; for each lane
// (same place in every host) an allreduce of its share across hosts; an allgather in the host. Only
// 1/width of the vector leaves a position's host, through as many network cards as it has lanes.
#include <bit>

#include "algorithms/families.h"
#include "algorithms/grid.h"

namespace accl::families {
namespace {

// Across hosts: a ring of the odd part times exchanges; see halving_doubling.cc.
void append_hosts(std::uint32_t hosts, const Shape& shape, std::vector<Dimension>& dimensions) {
  if (hosts == 1) return;
  const int twos = std::countr_zero(hosts);
  const std::uint32_t ring = twos == 0 ? hosts : hosts >> (twos - 1);
  const Dimension round{.stride = shape.width, .radix = ring};
  if (shape.first == First::near) dimensions.push_back(round);
  for (std::uint32_t done = ring; done < hosts; done *= 2) {
    const std::uint32_t distance = shape.first == First::near ? done : hosts / (done / ring) / 2;
    dimensions.push_back({.stride = distance * shape.width, .radix = 2});
  }
  if (shape.first == First::far) dimensions.push_back(round);
}

}  // namespace

void allreduce_two_level(const Shape& shape, Position position, StepList& list) {
  if (shape.size == 1) return list.copy(output(0), input(0));
  Grid grid{.dimensions = {}, .chunks = shape.size, .index = index(position)};
  if (shape.width > 1) {
    grid.dimensions.push_back({.stride = 1, .radix = shape.width, .direct = true});
  }
  append_hosts(shape.size / shape.width, shape, grid.dimensions);
  emit_reduce_scatter(grid, Buffer::input, Keep::output, list);
  emit_allgather(grid, Buffer::output, list);
}

}  // namespace accl::families
