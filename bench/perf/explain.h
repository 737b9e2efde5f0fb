// explain.h - --explain: the plan that a run would use, in words and numbers, without running it.
#pragma once

#include <cstdint>
#include <string>

#include "bench/perf/options.h"

namespace accl::perf {

// For every size of the table the algorithm that would serve it, then each such plan: steps, who
// sends how much. Ranks and positions differ only under a map.
std::string explain(const Options& options, std::uint32_t ranks);

}  // namespace accl::perf
