// plan.h - where everything stands and what every cable is: the fabric as people build it.
// Everything follows from the fabric and the rules alone, so equal specs give equal plans.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "topology/cabling/ports.h"
#include "topology/cabling/rules.h"
#include "topology/fabric/fabric.h"

namespace accl::topology {

struct Place {
  std::uint32_t rack = 0;
  std::uint32_t u = 0;  // The lowest unit.
  std::uint32_t units = 0;
};

struct PlannedCable {
  double length_m = 0;     // As bought.
  std::uint32_t type = 0;  // Of the rules.
  std::string color;
};

struct CablingPlan {
  CablingRules rules;
  std::vector<Rack> racks;
  std::vector<Place> switches;       // By SwitchId.
  std::vector<Place> servers;        // By ServerId.
  std::vector<PlannedCable> cables;  // By CableId.

  const PlannedCable& at(CableId id) const { return cables[index(id)]; }
  const CableType& type_of(CableId id) const { return rules.types[at(id).type]; }
};

// Reads and finishes the section. Throws Error(invalid_argument) with file and line for rules that
// this fabric cannot follow: racks too few, a place taken twice, a cable longer than any allowed.
CablingPlan plan_cabling(const Fabric& fabric, Section cabling);

// The place of the switch, or of the server that holds the NIC.
const Place& place_of(const Fabric& fabric, const CablingPlan& plan, const Ports& ports,
                      NodeId node);

// What stands on the flag at an end, two lines of at most 28 characters: the cable and this end,
// then the end far away. Names too long lose their middle.
struct Flag {
  std::string here;
  std::string there;
};
Flag flag_of(const Fabric& fabric, const Ports& ports, CableId id, const CableEnd& here);

// Which switches, servers and cables stand where, from the fabric: see racks.cc.
void place_devices(const Fabric& fabric, const Section& spec, CablingPlan& plan);

}  // namespace accl::topology
