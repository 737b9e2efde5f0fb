// paths_fuzz.cc - paths that flows were seen to take; a fabric of two cables a pair, one of them
// dead.
#include "tests/fuzz/feed.h"
#include "tests/topology/clusters.h"
#include "topology/fabric/seen_paths.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace accl::topology;
  static const Fabric fabric = test::make({2, 2, 2, 2, 2});
  Condition condition = whole(fabric);
  apply_dead(fabric, "C0008\n", "dead", condition);
  return accl::fuzz::feed(data, size, [&](std::string_view text) {
    SeenPaths::parse(fabric, condition, text, "paths");
  });
}
