// names_fuzz.cc - lists of hosts, of what is dead, of what is occupied.
#include "tests/fuzz/feed.h"
#include "tests/topology/clusters.h"
#include "topology/fabric/condition.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace accl::topology;
  static const Fabric fabric = test::make({2, 2, 2, 2, 2});
  Condition condition = whole(fabric);
  for (const auto apply : {apply_hosts, apply_dead, apply_occupied}) {
    accl::fuzz::feed(data, size,
                     [&](std::string_view text) { apply(fabric, text, "list", condition); });
  }
  return 0;
}
