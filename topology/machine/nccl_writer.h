// nccl_writer.h - a Machine as NCCL topology XML, for NCCL_TOPO_FILE.
#pragma once

#include <cstddef>
#include <string>

#include "topology/machine/machine.h"

namespace accl::topology {

constexpr std::size_t nccl_max_elements = 256;  // NCCL_TOPO_XML_MAX_NODES: NCCL reads no more.

// Only what leads to a GPU or a NIC is written, a switch as one element. Where that is still more
// than NCCL reads, the NVLinks go (NCCL asks the driver for them); where that does not suffice,
// throws Error(invalid_argument).
//
// read_nccl_text of the result gives the same pairing. Two attributes that NCCL reads over carry
// what its format has no word for: `root` (the host bridge) and `socket`.
std::string nccl_text(const Machine& machine);

}  // namespace accl::topology
