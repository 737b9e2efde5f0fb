// spec_fuzz.cc - any text as a spec: a fabric with its cabling plan, or refused with an Error.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "accl/base/error.h"
#include "tests/topology/built.h"
#include "topology/cabling/exports.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace accl::topology;
  try {
    const Built built = build(std::string_view(reinterpret_cast<const char*>(bytes), size));
    if (built.fabric.cables.size() < 10000) all_exports(built.fabric, built.plan);
  } catch (const accl::Error&) {
  }
  return 0;
}
