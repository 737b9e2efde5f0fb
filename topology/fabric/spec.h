// spec.h - a cluster as its owner writes it down, in YAML, and the fabric that follows from it.
// docs/topology.md explains every key; configs/ has examples.
#pragma once

#include <string>
#include <string_view>

#include "topology/fabric/fabric.h"
#include "topology/fabric/section.h"

namespace accl::topology {

// Throws Error(invalid_argument) with file and line for a spec that cannot be: unknown keys, wrong
// types, and numbers that do not fit together (the text names the number and what it must be).
Fabric read_fabric(Section& spec);

// The same from a file. The section `cabling` of the spec is for cabling/ and is left alone here.
Fabric load_fabric(const std::string& path);

}  // namespace accl::topology
