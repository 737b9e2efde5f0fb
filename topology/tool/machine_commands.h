// machine_commands.h - the commands about one server: discover and transplant.
#pragma once

#include "topology/tool/command.h"

namespace accl::topology {

Command discover_command(CLI::App& app);
Command transplant_command(CLI::App& app);

}  // namespace accl::topology
