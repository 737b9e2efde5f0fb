// grid.h - reduce-scatter and allgather over a grid of positions, one dimension after the other.
// Ring, halving-doubling, ring x halving-doubling and two-level are all this, with other
// dimensions: a ring is one dimension of n, halving-doubling is m dimensions of 2, two-level is
// one dimension inside the host and the rest across hosts.
//
// Index i has one digit per dimension: (i / stride) % radix. In a dimension of the reduce-scatter
// the positions that differ in that digit only form a group; the part of the vector they still
// hold is cut into one region per member, and each member ends with its region summed over the
// group. The allgather is the same backwards.
#pragma once

#include <cstdint>
#include <vector>

#include "algorithms/plan.h"

namespace accl {

struct Dimension {
  std::uint32_t stride = 1;
  std::uint32_t radix = 1;
  bool direct = false;  // Members talk to each other at once instead of round a ring.
};

// Where the sums of a reduce-scatter are kept while they grow.
enum class Keep : std::uint8_t {
  output,   // allreduce; reduce at the root.
  scratch,  // reduce elsewhere: the output is not ours to write.
  own,      // reduce_scatter: scratch, and the finished own chunk in the output.
};

// The grid as one index sees it. `chunks` is the product of the radices. Chunks are dealt so that
// every region is one run: by the digits of the first dimension first. Where the strides descend,
// chunk i falls to index i, as reduce_scatter and allgather want it.
struct Grid {
  std::vector<Dimension> dimensions;  // In the order of the reduce-scatter.
  std::uint32_t chunks = 1;
  std::uint32_t index = 0;  // Of the position whose steps are written.

  // Positions 2i and 2i+1 share index i for i < folded (the odd one sits out); after them every
  // position has an index of its own.
  std::uint32_t folded = 0;

  Position position_of(std::uint32_t other) const {
    return Position{other < folded ? 2 * other : other + folded};
  }
};

// The chunks of index `other` once the first `fixed` dimensions are done; in this buffer.
Slice region_of(const Grid& grid, std::uint32_t other, std::uint32_t fixed, Buffer buffer);

// The sums of all chunks start in `from` (input, or output after a fold). Ends with the own region
// complete where `keep` says. Lands messages in scratch layers from 1 on; layer 0 is Keep's.
void emit_reduce_scatter(const Grid& grid, Buffer from, Keep keep, StepList& list);

// The own region is complete in `from`. If that is the input, it is copied to the output as well.
void emit_allgather(const Grid& grid, Buffer from, StepList& list);

}  // namespace accl
