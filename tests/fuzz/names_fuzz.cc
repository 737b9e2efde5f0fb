// names_fuzz.cc - lists of hosts, of what is dead, of what is occupied.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "accl/base/error.h"
#include "tests/topology/clusters.h"
#include "topology/fabric/condition.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace accl::topology;
  static const Fabric fabric = test::make({2, 2, 2, 2, 2});
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  Condition condition = whole(fabric);
  const auto take = [&](auto apply) {
    try {
      apply(fabric, text, "list", condition);
    } catch (const accl::Error&) {  // What it says is for people.
    }
  };
  take(apply_hosts);
  take(apply_dead);
  take(apply_occupied);
  return 0;
}
