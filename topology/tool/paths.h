// paths.h - accl-topo paths: which flow labels take which path between two addresses.
#pragma once

#include "topology/tool/command.h"

namespace accl::topology {

Command paths_command(CLI::App& app);

}  // namespace accl::topology
