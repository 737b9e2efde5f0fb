// warnings.h - what a cluster engineer should know about a server before training on it: everything
// that keeps a GPU from sending at full rate through a NIC of its own.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "topology/machine/machine.h"
#include "topology/machine/pairing.h"

namespace accl::topology {

// Whole sentences, the gravest first. Empty for a server built the EFlops way: every GPU with a NIC
// under a PCIe switch and a root port of their own.
std::vector<std::string> warnings_of(const Machine& machine, std::span<const Pair> pairs);

}  // namespace accl::topology
