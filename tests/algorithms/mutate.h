// mutate.h - every way we know of breaking one step of a plan. For tests of the verifier.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string_view>

#include "algorithms/verify.h"

namespace accl::test {

enum class Mutation : std::uint8_t {
  change_peer,
  shift_target,
  shift_source,
  shift_other,
  change_buffer,
  reduce_to_copy,
  copy_to_reduce,
  swap_operands,
  delete_step,
  duplicate_step,
  swap_neighbours,
  swap_distant,
  swap_receives,
  rename_target,  // The slice a send names.
  change_count,
  shift_whole_message,   // Source, named target and the receiver's target.
  delete_whole_message,  // The send and its recv.
};
inline constexpr std::array mutation_names{
    "change peer",         "shift target",   "shift source",    "shift other",
    "change buffer",       "reduce to copy", "copy to reduce",  "swap operands",
    "delete step",         "duplicate step", "swap neighbours", "swap distant",
    "swap receives",       "rename target",  "change count",    "shift whole message",
    "delete whole message"};

struct Mutant {
  Mutation mutation{};
  std::uint32_t position = 0;
  std::uint32_t first = 0;   // The step that is changed,
  std::uint32_t second = 0;  // and for swaps the one it changes places with; first < second.
  PlanSet plan;
};

// Calls `use` with every mutant of the plan: each kind at each step it can be done to (swaps of
// distant steps: with a few others each).
void for_each_mutant(const PlanSet& plan, const std::function<void(const Mutant&)>& use);

// Whether steps first and second of a list can change places and leave what every step reads (but
// for the order of additions to one sum), and the order of messages of every pair of positions, as
// it was. A proof by looking at the slices. In place, input and output are the same memory.
bool may_swap(const std::vector<Step>& steps, std::uint32_t first, std::uint32_t second,
              bool in_place);

// Whether all that the step reads differently from `changed` is its source, taken from input where
// it was output or the other way round, after a copy that made the two equal and while they are.
bool reads_a_copy(const std::vector<Step>& steps, std::uint32_t number, const Step& changed);

}  // namespace accl::test
