// ibnetdiscover_fuzz.cc - any text as the output of ibnetdiscover: read, compared, or
// refused with an Error.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "accl/base/error.h"
#include "tests/topology/built.h"
#include "topology/check/compare.h"
#include "topology/check/readers.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace accl::topology;
  static const Built built = build(tiny);
  static const Ports ports(built.fabric, built.plan.rules.ports);
  try {
    const std::string_view text(reinterpret_cast<const char*>(bytes), size);
    compare(built.fabric, ports, parse_ibnetdiscover(text, "fabric"));
  } catch (const accl::Error&) {
  }
  return 0;
}
