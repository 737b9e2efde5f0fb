// run.h - one rank of a job, from joining it to its exit code.
#pragma once

#include "bench/perf/options.h"
#include "bench/perf/seat.h"

namespace accl::perf {

// 0, or 1 where an element was wrong. Throws Error.
int run_rank(const Options& options, const Seat& seat);

// What can be known to be bad before any rank starts: map, workload, sizes, memory.
// Throws Error(invalid_argument).
void check_inputs(const Options& options, std::uint32_t ranks);

}  // namespace accl::perf
