// nccl_fuzz.cc - any bytes given as NCCL XML: a Machine or an Error. What is read is printed,
// written, read again and transplanted onto itself.
#include "tests/fuzz/feed.h"
#include "topology/machine/nccl_reader.h"
#include "topology/machine/nccl_writer.h"
#include "topology/machine/report.h"
#include "topology/machine/transplant.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return accl::fuzz::feed(data, size, [](std::string_view text) {
    const accl::topology::Machine machine = accl::topology::read_nccl_text(text, "fuzz.xml");
    accl::topology::text_report(machine);
    accl::topology::json_report(machine);
    accl::topology::read_nccl_text(accl::topology::nccl_text(machine), "again.xml");
    accl::topology::transplant(machine, machine);
  });
}
