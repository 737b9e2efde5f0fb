// Any bytes given as NCCL XML: a Machine or an Error. What is read is printed, written, read again
// and transplanted onto itself.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "accl/base/error.h"
#include "topology/machine/nccl_reader.h"
#include "topology/machine/nccl_writer.h"
#include "topology/machine/report.h"
#include "topology/machine/transplant.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const accl::topology::Machine machine = accl::topology::read_nccl_text(text, "fuzz.xml");
    accl::topology::text_report(machine);
    accl::topology::json_report(machine);
    accl::topology::read_nccl_text(accl::topology::nccl_text(machine), "again.xml");
    accl::topology::transplant(machine, machine);
  } catch (const accl::Error&) {
  }
  return 0;
}
