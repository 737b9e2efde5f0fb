// rank_map.h - reads rankmap.json (`accl-topo map`): the order of its `ranks` array says which rank
// sits at which position.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "accl/base/ids.h"

namespace accl::perf {

// Position -> rank. Throws Error(invalid_argument) that names the file, what is wrong in it, and
// the remedy: not readable, not JSON, not version 1, not each of `world` ranks exactly once.
std::vector<Rank> read_rank_map(const std::string& path, std::uint32_t world);

}  // namespace accl::perf
