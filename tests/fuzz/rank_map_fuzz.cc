// rank_map_fuzz.cc - rankmap.json, which may come from anywhere: what is read is printed, and reads
// back as the same.
#include "accl/base/assert.h"
#include "tests/fuzz/feed.h"
#include "topology/mapping/rank_map.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return accl::fuzz::feed(data, size, [](std::string_view text) {
    using namespace accl::topology;
    const std::string once = print_rank_map(parse_rank_map(text, "map.json", 0));
    const std::string again = print_rank_map(parse_rank_map(once, "again", 0));
    ACCL_ASSERT(once == again, once.size(), again.size());
  });
}
