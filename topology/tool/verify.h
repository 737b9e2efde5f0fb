// verify.h - `accl-topo verify`: the cables that are there against those of the spec.
#pragma once

#include "topology/tool/command.h"

namespace accl::topology {

Command verify_command(CLI::App& app);

}  // namespace accl::topology
