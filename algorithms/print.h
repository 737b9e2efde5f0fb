// print.h - plans for people: the steps of positions, what each sends, who sends to whom. Volumes
// are fractions of D, the whole vector (of alltoall: all blocks of one position). The plans must be
// sound (verify.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "algorithms/verify.h"

namespace accl {

struct Traffic {
  std::uint32_t messages = 0;
  std::uint64_t chunks = 0;  // In those messages.
};

struct Cost {
  std::uint32_t rounds = 0;   // The longest chain of messages that each waited for the one before.
  std::vector<Traffic> sent;  // By position.
  std::vector<Traffic> reduced;  // By position; messages counts reduce steps.
};

Cost cost_of(const PlanSet& plan);

// The busiest position's.
Traffic busiest(const std::vector<Traffic>& positions);

// "7/4 D", "D", "0".
std::string fraction_of_vector(std::uint64_t chunks, std::uint32_t all_chunks);

// "send input[2..3] to 5 as scratch[10..11]".
std::string print_step(const Step& step);

// A numbered line for each step.
std::string print_steps(const std::vector<Step>& steps);

// All positions.
std::string print_plan(const PlanSet& plan);

// One line on the whole plan, then a table of what each position sends and reduces.
std::string print_summary(const PlanSet& plan);

// A matrix, senders down, receivers across: messages and chunks between each pair.
std::string print_traffic(const PlanSet& plan);

}  // namespace accl
