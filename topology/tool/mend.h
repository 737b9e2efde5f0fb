// mend.h - accl-topo mend: given what is dead, the best new order of ranks, and what it costs
// beside the order that was.
#pragma once

#include "topology/tool/command.h"

namespace accl::topology {

Command mend_command(CLI::App& app);

}  // namespace accl::topology
