// hwloc_text.h - makes hwloc XML of unknown origin safe to give to hwloc. hwloc's importer trusts
// its input: it was written for files that hwloc exported.
#pragma once

#include <string>
#include <string_view>

namespace accl::topology {

// The same machine with only what pairing needs: the objects, a few of their attributes, the
// NVLink and xGMI tables. Accepts version 1 and 2. Throws Error(invalid_argument), with line, for
// everything else: version 3 (and how to export version 2), objects that hwloc does not have or
// not there, numbers and sets that are none, sizes no machine has.
std::string safe_hwloc_text(std::string_view text, const std::string& name);

}  // namespace accl::topology
