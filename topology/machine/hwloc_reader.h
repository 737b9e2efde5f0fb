// hwloc_reader.h - a Machine from hwloc: of this machine, or of one that was saved as XML
// (`lstopo --of xml FILE`). Both make hwloc silent on stderr for the rest of the process, and keep
// it from loading its OpenCL and GL parts, unless the environment says otherwise.
#pragma once

#include <string>
#include <string_view>

#include "topology/machine/machine.h"

namespace accl::topology {

// Throws Error(system) where hwloc cannot look at this machine.
Machine read_hwloc_live();

// `name` is the file's, for messages. Throws Error(invalid_argument) that says "NAME:LINE: what"
// for a text that is no machine; never crashes on one.
Machine read_hwloc_text(std::string_view text, const std::string& name);

}  // namespace accl::topology
