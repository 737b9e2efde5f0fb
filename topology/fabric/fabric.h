// fabric.h - a cluster: servers with NICs, switches, and the cables between them, as a graph and as
// tables. Made from a spec (spec.h); everything else of the planner reads it.
//
// Ports are numbered from 1. Cables are numbered from 0 in an order that the spec alone decides:
// first those of NICs, in the order of the NICs, then those between switches.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "topology/graph.h"

namespace accl::topology {

enum class SwitchId : std::uint32_t {};
enum class NicId : std::uint32_t {};  // An endpoint: one rank sits at each NIC.
enum class ServerId : std::uint32_t {};
enum class CableId : std::uint32_t {};

enum class FabricKind : std::uint8_t { bigraph, leaf_spine, graph };

// The two layers. Of a leaf-spine, leaves are lower and spines upper. `none`: a graph whose
// switches do not fall into two layers.
enum class Side : std::uint8_t { upper, lower, none };
std::string_view name_of(Side side);

struct Switch {
  NodeId node{};
  std::string name;
  Side side = Side::none;
  std::uint32_t plane = 0;
  std::uint32_t place = 0;  // Among the switches of its side and plane.
  std::uint32_t ports = 0;
};

struct Nic {
  NodeId node{};
  ServerId server{};
  std::uint32_t place = 0;  // Among the NICs of its server; the GPU of that number goes by it.
  std::string name;         // Of the device: "mlx5_0".
  SwitchId at{};
  std::uint32_t port = 0;  // Of the switch.
  CableId cable{};
};

struct Server {
  NodeId node{};
  std::string name;
  std::uint32_t gpus = 0;
  std::vector<NicId> nics;
};

struct CableEnd {
  NodeId node{};  // A NIC or a switch.
  std::uint32_t port = 0;
};

struct Cable {
  CableEnd a;  // The NIC, or of two switches the upper one or the one named first.
  CableEnd b;
  LinkId link{};  // From a to b; the other direction is reverse(link).
  double gbps = 0;
  bool joins_switches = false;
  std::uint32_t lane = 0;  // Among the cables of the same two switches.
};

struct Fabric {
  std::string name;
  FabricKind kind = FabricKind::bigraph;
  std::uint32_t planes = 1;
  std::uint32_t cables_per_pair = 1;  // The most between any two switches.
  double hop_seconds = 0;             // For a message to pass one cable and what is behind it.
  double start_seconds = 0;           // For a rank to start a message and a rank to see it.
  Graph graph;
  std::vector<Switch> switches;
  std::vector<Server> servers;
  std::vector<Nic> nics;
  std::vector<Cable> cables;

  const Switch& at(SwitchId id) const { return switches[index(id)]; }
  const Server& at(ServerId id) const { return servers[index(id)]; }
  const Nic& at(NicId id) const { return nics[index(id)]; }
  const Cable& at(CableId id) const { return cables[index(id)]; }
  CableId cable_of(LinkId link) const { return CableId{index(link) / 2}; }

  // "server03:mlx5_1", "upper2:17".
  std::string name_of(const CableEnd& end) const;
  // "C0012 upper2:17 -- lower5:9".
  std::string name_of(CableId id) const;
};

// "C0012": as labels, lists and exports call a cable.
std::string label_of(CableId id);

}  // namespace accl::topology
