// plan.h - `accl-topo plan`: every export of a spec into a folder, and what people should know.
#pragma once

#include "topology/tool/command.h"

namespace accl::topology {

Command add_plan(CLI::App& app);

}  // namespace accl::topology
