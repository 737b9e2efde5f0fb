// launcher.h - starts N ranks of this program on this machine, and watches them until all have
// ended.
//
// Promises:
//   1. No rank outlives the launcher, however that ends (PR_SET_PDEATHSIG).
//   2. A rank that is killed, or ends with an error, is named on stderr; the others get a few
//      seconds to end by themselves, then they are killed by their pids.
//   3. The exit code is 0 when all ranks gave 0; 2 where a rank called the input bad; otherwise 1.
#pragma once

#include <cstdint>

#include "bench/perf/options.h"

namespace accl::perf {

int launch_ranks(const Options& options, std::uint32_t ranks);

}  // namespace accl::perf
