// ports.h - the ends of a fabric's cables by name, both ways: what exports write for an end, and
// which end somebody means by a device and a port.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "topology/cabling/rules.h"
#include "topology/fabric/fabric.h"

namespace accl::topology {

// An end as somebody wrote it.
struct NamedEnd {
  std::string device;  // A switch or a server.
  std::string port;
  auto operator<=>(const NamedEnd&) const = default;
};

class Ports {
 public:
  // The fabric must outlive it.
  Ports(const Fabric& fabric, PortRules rules);

  std::optional<SwitchId> switch_of(NodeId node) const;
  std::optional<NicId> nic_of(NodeId node) const;
  NamedEnd name_of(const CableEnd& end) const;
  // "upper2:swp17", "server03:mlx5_1".
  std::string text_of(const CableEnd& end) const;

  // The devices of this name, also with a domain behind it ("server03.example.org").
  std::optional<SwitchId> find_switch(std::string_view device) const;
  std::optional<ServerId> find_server(std::string_view device) const;
  bool knows(std::string_view device) const;

  // Nothing where it is no port of the fabric. Accepts for a switch the name that the rules give
  // the port, its number, and words of letters before the number ("Port 17", "Ethernet1/17"); for
  // a server the NIC or its interface, with or without port 1 ("mlx5_1", "mlx5_1/P1", "HCA-2"). A
  // switch without a number of ports has as many as are asked for.
  std::optional<CableEnd> find(const NamedEnd& end) const;

 private:
  std::optional<CableEnd> find_port(SwitchId id, std::string_view port) const;
  std::optional<CableEnd> find_nic(ServerId id, std::string_view port) const;
  std::string_view interface_of(const Nic& nic) const;

  const Fabric& fabric_;
  PortRules rules_;
  std::string before_number_;
  std::string after_number_;
  std::vector<std::uint32_t> numbers_;  // By node: of its switch or NIC.
  std::unordered_map<std::string, SwitchId> switches_;
  std::unordered_map<std::string, ServerId> servers_;
};

}  // namespace accl::topology
