// graph.h - one flat graph for everything data crosses: PCIe and NVLink inside a host, NICs, cables
// and switches between hosts. Filled from a machine, a file or a spec; nothing that reads it can
// tell which. Ids are dense indices in the order of insertion, so equal inputs give equal graphs.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "accl/base/ids.h"

namespace accl::topology {

enum class NodeId : std::uint32_t {};
enum class LinkId : std::uint32_t {};  // One direction; link ^ 1 is the other of the same cable.

constexpr NodeId no_node{0xFFFF'FFFF};

enum class NodeKind : std::uint8_t {
  host,
  numa,           // A NUMA node, or whatever the source has between host and host bridge.
  host_bridge,    // A PCIe root: what is below two different ones meets in the CPU.
  pci_switch,     // One bridge of a PCIe switch: its upstream port or one downstream port.
  pci_root_port,  // A bridge of the CPU's own: below it lies one slot or one switch.
  gpu,
  nic,
  nvswitch,
  fabric_switch,
};
std::string_view name_of(NodeKind kind);

struct Node {
  NodeKind kind{};
  NodeId parent = no_node;  // What contains it; no_node for hosts and fabric switches.
  std::string name;         // Unique in its graph and the same on every run.
};

// What one cable, bus or NVLink bundle carries in one direction.
struct Link {
  NodeId from{};
  NodeId to{};
  double bytes_per_second = 0;  // 0: the source does not say.
};

constexpr LinkId reverse(LinkId link) { return LinkId{index(link) ^ 1u}; }

class Graph {
 public:
  NodeId add(NodeKind kind, std::string name, NodeId parent = no_node);
  // Both directions; returns the one from a to b. Parallel links are links of their own.
  LinkId join(NodeId a, NodeId b, double bytes_per_second);

  const Node& node(NodeId id) const { return nodes_[index(id)]; }
  const Link& link(LinkId id) const { return links_[index(id)]; }
  std::span<const Node> nodes() const { return nodes_; }
  std::span<const Link> links() const { return links_; }
  // In the order in which they were joined.
  std::span<const LinkId> leaving(NodeId id) const { return leaving_[index(id)]; }

  // The closest node that contains both (each contains itself); no_node if none does.
  NodeId common_ancestor(NodeId a, NodeId b) const;

 private:
  std::vector<Node> nodes_;
  std::vector<Link> links_;
  std::vector<std::vector<LinkId>> leaving_;
};

}  // namespace accl::topology
