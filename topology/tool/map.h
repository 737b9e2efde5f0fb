// map.h - accl-topo map: the rank order, for the library and for launchers.
#pragma once

#include "topology/mapping/mapper.h"
#include "topology/tool/command.h"

namespace accl::topology {

Command map_command(CLI::App& app);

// What a mapping achieves, for people: "contention-free: ..." or which cable carries how many
// messages in which step.
std::string print_achievement(const Fabric& fabric, const Mapping& mapping);

}  // namespace accl::topology
