// rank_map_fuzz.cc - rankmap.json, which may come from anywhere.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "accl/base/assert.h"
#include "accl/base/error.h"
#include "topology/mapping/rank_map.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const accl::topology::RankMap map = accl::topology::parse_rank_map(text, "map.json", 0);
    const std::string again = accl::topology::print_rank_map(map);
    const auto second = accl::topology::parse_rank_map(again, "again", 0);
    ACCL_ASSERT(accl::topology::print_rank_map(second) == again, size);
  } catch (const accl::Error&) {  // What it says is for people.
  }
  return 0;
}
