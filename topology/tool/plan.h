// plan.h - `accl-topo plan`: every export of a spec into a folder, and what people should know.
#pragma once

#include "topology/tool/command.h"

namespace accl::topology {

Command plan_command(CLI::App& app);

}  // namespace accl::topology
