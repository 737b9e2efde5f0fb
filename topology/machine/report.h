// report.h - what `accl-topo discover` prints.
#pragma once

#include <string>

#include "topology/machine/machine.h"

namespace accl::topology {

// The matrix of `nvidia-smi topo -m`, its legend, the pairs, the warnings and the source. The same
// for equal machines.
std::string text_report(const Machine& machine);

// One object: gpus, nics, pairs, warnings, source. gpu is a bus id, nic a name of `nics`.
std::string json_report(const Machine& machine);

}  // namespace accl::topology
