// verify.h - proof of a plan before it moves a byte. A plan without a fault is right for every
// message size, every timing and every window of messages under way, in place and out of place.
//
// What is checked, in this order:
//   shape      slices lie in buffers the collective gives that position; input is not written;
//              the slices of a step agree in count; peers exist; chunk c only ever meets chunks
//              of its own size (c modulo chunks), because chunks may differ by an element;
//   pairing    the k-th send from A to B meets the k-th recv at B from A, of the same slice;
//   progress   in list order, with one message under way per direction of a pair, all lists end.
//              A message received into scratch is under way until that scratch was read. With
//              more room they end all the more: a step that can go on cannot be hindered by one
//              elsewhere, so every order of events executes the same steps;
//   meaning    what the collective promises is there, every contribution exactly once (barrier:
//              at least once), nothing unwritten is read, nothing is written that nobody reads,
//              and all positions of an allreduce add in the same order (bit-identical results).
//
// alltoall's blocks are all of one size, so there any chunk may be held in the place of another.
// alltoallv's are not: it has no scratch, and an output chunk never holds any block but its own. So
// the same plan may be sound as the one and not as the other.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "accl/base/types.h"
#include "algorithms/catalog.h"
#include "algorithms/plan.h"

namespace accl {

// A whole plan: the lists of all positions.
struct PlanSet {
  Collective collective{};
  Shape shape;
  std::uint32_t chunks = 1;
  std::vector<std::vector<Step>> positions;

  std::size_t step_count() const;
};

// The algorithm must fit the shape.
PlanSet make_plan_set(const Algorithm& algorithm, const Shape& shape);

// The steps of one position.
std::vector<Step> make_steps(const Algorithm& algorithm, const Shape& shape, Position position);

// The first fault in words, "position 3 step 7: writes the input", or nothing: the plan is sound.
std::optional<std::string> find_fault(const PlanSet& plan);

// Shape and pairing only, of one position and the messages between it and its peers: for plans too
// large to be proven as a whole.
std::optional<std::string> find_fault_at(const Algorithm& algorithm, const Shape& shape,
                                         Position position);

// Which chunks of a buffer the collective gives a position; count 0: none.
Slice granted(Collective collective, const Shape& shape, std::uint32_t chunks, Position position,
              Buffer buffer);

}  // namespace accl
