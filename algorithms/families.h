// families.h - the emit functions of all algorithms, one file per family; catalog.cc lists them.
// Each has the signature of Algorithm::emit and appends the steps of one position, nothing else.
// All are defined for every size from 1 (a plain copy) unless the catalog's `fits` says otherwise.
//
// Habits they share, because the executor makes them cheap:
//   - no first copy of input to output: the first reduce reads input and writes output;
//   - what is received to be reduced lands in scratch that is written once and read once;
//   - what was just received or reduced is sent next;
//   - scratch is numbered in layers: chunk c of layer l is l * chunks + c, as large as chunk c;
//   - a list never needs two messages under way from one position to another to go on.
#pragma once

#include <cstdint>

#include "algorithms/plan.h"

namespace accl::families {

// How many peers a position sends to at once where all talk to all.
constexpr std::uint32_t peers_in_flight = 8;

// ring.cc
void allreduce_ring(const Shape& shape, Position position, StepList& list);
void reduce_scatter_ring(const Shape& shape, Position position, StepList& list);
void allgather_ring(const Shape& shape, Position position, StepList& list);
void reduce_ring(const Shape& shape, Position position, StepList& list);
void broadcast_scatter_ring(const Shape& shape, Position position, StepList& list);
void broadcast_chain(const Shape& shape, Position position, StepList& list);

// halving_doubling.cc
std::uint32_t halving_doubling_chunks(const Shape& shape);
void allreduce_halving_doubling(const Shape& shape, Position position, StepList& list);
void reduce_scatter_halving(const Shape& shape, Position position, StepList& list);
void allgather_doubling(const Shape& shape, Position position, StepList& list);

// two_level.cc
void allreduce_two_level(const Shape& shape, Position position, StepList& list);

// bruck.cc
void allreduce_bruck(const Shape& shape, Position position, StepList& list);
void reduce_scatter_bruck(const Shape& shape, Position position, StepList& list);
void allgather_bruck(const Shape& shape, Position position, StepList& list);

// recursive_doubling.cc
void allreduce_recursive_doubling(const Shape& shape, Position position, StepList& list);
void barrier_dissemination(const Shape& shape, Position position, StepList& list);

// double_tree.cc
void allreduce_double_tree(const Shape& shape, Position position, StepList& list);

// binomial.cc
void broadcast_binomial(const Shape& shape, Position position, StepList& list);
void reduce_binomial(const Shape& shape, Position position, StepList& list);
void gather_binomial(const Shape& shape, Position position, StepList& list);
void scatter_binomial(const Shape& shape, Position position, StepList& list);

// direct.cc
void allreduce_one_shot(const Shape& shape, Position position, StepList& list);
void reduce_scatter_pairwise(const Shape& shape, Position position, StepList& list);
void allgather_direct(const Shape& shape, Position position, StepList& list);
void gather_direct(const Shape& shape, Position position, StepList& list);
void scatter_direct(const Shape& shape, Position position, StepList& list);
void sendrecv_direct(const Shape& shape, Position position, StepList& list);

// alltoall.cc
void alltoall_pairwise(const Shape& shape, Position position, StepList& list);
void alltoall_bruck(const Shape& shape, Position position, StepList& list);

}  // namespace accl::families
