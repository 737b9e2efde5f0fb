// explain.h - accl-topo explain: what an order of ranks costs on a fabric, step by step and cable
// by cable, beside the orders that people have today.
#pragma once

#include "topology/tool/command.h"

namespace accl::topology {

Command explain_command(CLI::App& app);

}  // namespace accl::topology
