// builder.h - puts a Fabric together, port by port. Complaints go to the spec it is built from.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "topology/fabric/fabric.h"
#include "topology/fabric/section.h"

namespace accl::topology {

class Builder {
 public:
  explicit Builder(const Section& spec) : spec_(spec) {}

  Fabric& fabric() { return fabric_; }

  // A pattern of the user's with the number in its place: "node{:03}" and 7 give "node007".
  std::string numbered(const std::string& pattern, std::uint32_t number) const;

  SwitchId add_switch(Switch added);
  ServerId add_server(const std::string& name, std::uint32_t gpus, std::uint32_t nics,
                      const std::string& nic_pattern);
  // The next free port of the switch is the NIC's.
  void plug(NicId nic, SwitchId at, double gbps);
  void join(SwitchId a, SwitchId b, std::uint32_t cables, double gbps);

  // Checks that every NIC has a port and no switch more cables than ports.
  Fabric finish();

 private:
  std::uint32_t next_port(SwitchId id) { return ++used_ports_[index(id)]; }
  void claim_name(const std::string& name);

  const Section& spec_;
  Fabric fabric_;
  std::set<std::string> names_;
  std::vector<std::uint32_t> used_ports_;
  std::map<std::pair<SwitchId, SwitchId>, std::uint32_t> lanes_;
};

// Of `topology: graph`: lists of switches, servers and cables.
void build_graph(Builder& builder, Section& spec);

}  // namespace accl::topology
