// catalog.h - the table of algorithms. A new one is one file and one row in catalog.cc; verifier,
// mutation tests, printer, documentation and executor pick it up from there.
//
// Chunks. The vector of an allreduce, reduce or broadcast is cut into `chunks` near-equal chunks.
// Where data comes in one block per position (reduce_scatter, allgather, alltoall, gather,
// scatter), `chunks` is a multiple k*size and block b is chunks [b*k, (b+1)*k), in every buffer:
//   reduce_scatter  input: all blocks; output: the own block only (chunk numbers of that block)
//   allgather       input: the own block only; output: all blocks
//   alltoall        input block b goes to position b; output block b comes from position b
//   gather          input: the own block only; output: all blocks, at the root only
//   scatter         input: all blocks, at the root only; output: the own block only
//   broadcast       input: at the root only; output: everywhere
//   reduce          input: everywhere; output: at the root only
//   sendrecv        one chunk: input goes to position+1, output comes from position-1 (modulo size)
//   barrier         one chunk; every output has heard of every input (op max, so twice is fine)
// alltoallv has rows of its own: those plans of alltoall that hold for blocks of different sizes
// (Bruck's does not). In place is not defined for alltoall, alltoallv and sendrecv.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "algorithms/plan.h"

namespace accl {

struct Algorithm {
  std::string_view name;  // As --algo takes it: "ring", "hd", "tree", ...
  Collective collective{};
  std::string_view brief;  // One line for people: the idea, rounds and bytes.

  // Whether the algorithm is defined for this shape (most are for every one).
  bool (*fits)(const Shape& shape);
  // Chunks in the whole vector; see above.
  std::uint32_t (*chunks)(const Shape& shape);
  // Chunks in the largest message that any position sends: with it all ranks cut the same slices.
  std::uint32_t (*largest)(const Shape& shape);
  // Appends the steps of `position`.
  void (*emit)(const Shape& shape, Position position, StepList& list);
};

// Every algorithm, grouped by collective.
std::span<const Algorithm> algorithms();

// Null where the collective has no algorithm of this name.
const Algorithm* find_algorithm(Collective collective, std::string_view name);

// "ring, hd, tree, ...": for messages that say what there is.
std::string algorithm_names(Collective collective);

}  // namespace accl
