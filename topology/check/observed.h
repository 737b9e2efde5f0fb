// observed.h - cables as somebody or something says they are: what the readers of this folder give
// and compare.h judges. Names are as they were read.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "topology/cabling/ports.h"

namespace accl::topology {

struct ObservedLink {
  NamedEnd a;
  NamedEnd b;
  double gbps = 0;    // 0: the source does not say.
  std::string speed;  // As it was read: "4xDDR".
  std::string place;  // "FILE:LINE", or the file and what stands for a line in it.
};

struct Observation {
  std::string source;  // Where from, for people: "lldpcli", "ibnetdiscover", "list of cables".
  // Each cable once, however often it was seen.
  std::vector<ObservedLink> links;
  // Devices that told what they see; of others only the far end did.
  std::set<std::string> reporters;
};

}  // namespace accl::topology
