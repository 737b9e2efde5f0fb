// cables_fuzz.cc - any text as a list of cables: read, compared, or refused with an Error.
#include "tests/fuzz/observed.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return accl::fuzz::feed(data, size, [](std::string_view text) {
    accl::fuzz::compare_with_plan(accl::topology::parse_cables(text, "cables.csv"));
  });
}
