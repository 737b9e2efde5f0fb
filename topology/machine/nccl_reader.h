// nccl_reader.h - a Machine from NCCL's or RCCL's topology XML: what NCCL_TOPO_DUMP_FILE writes and
// clouds ship for NCCL_TOPO_FILE.
#pragma once

#include <string>
#include <string_view>

#include "topology/machine/machine.h"

namespace accl::topology {

// Reads version 1 and 2, files with and without <gpu> and <nic> elements. `name` is the file's, for
// messages. Throws Error(invalid_argument) that says "NAME:LINE: what".
Machine read_nccl_text(std::string_view text, const std::string& name);

}  // namespace accl::topology
