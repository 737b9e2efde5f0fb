// hwloc_fuzz.cc - any bytes given as hwloc XML: a Machine or an Error, and what a Machine is
// printed as and written to must hold too.
#include "tests/fuzz/feed.h"
#include "topology/machine/hwloc_reader.h"
#include "topology/machine/nccl_writer.h"
#include "topology/machine/report.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return accl::fuzz::feed(data, size, [](std::string_view text) {
    const accl::topology::Machine machine = accl::topology::read_hwloc_text(text, "fuzz.xml");
    accl::topology::text_report(machine);
    accl::topology::json_report(machine);
    accl::topology::nccl_text(machine);
  });
}
