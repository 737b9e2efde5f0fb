// Any bytes given as hwloc XML: a Machine or an Error, and what a Machine is printed as and written
// to must hold too.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "accl/base/error.h"
#include "topology/machine/hwloc_reader.h"
#include "topology/machine/nccl_writer.h"
#include "topology/machine/report.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const accl::topology::Machine machine = accl::topology::read_hwloc_text(text, "fuzz.xml");
    accl::topology::text_report(machine);
    accl::topology::json_report(machine);
    accl::topology::nccl_text(machine);
  } catch (const accl::Error&) {
  }
  return 0;
}
