// spec_fuzz.cc - any text as a spec: a fabric with its cabling plan, or refused with an Error.
#include "tests/fuzz/feed.h"
#include "tests/topology/built.h"
#include "topology/cabling/exports.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return accl::fuzz::feed(data, size, [](std::string_view text) {
    const accl::topology::Built built = accl::topology::build(text);
    if (built.fabric.cables.size() < 10000) {
      accl::topology::all_exports(built.fabric, built.plan);
    }
  });
}
