// report.h - accl-topo report: the page of report/ for a spec.
#pragma once

#include "topology/tool/command.h"

namespace accl::topology {

Command report_command(CLI::App& app);

}  // namespace accl::topology
