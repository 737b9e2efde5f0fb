#include "topology/cabling/ports.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace accl::topology {
namespace {

constexpr std::uint32_t max_port = 65536;

std::optional<std::uint32_t> whole_number(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return {};
  return value;
}

// "17", "1/17", "Port 17", "P17", "swp17", "Ethernet17", "Ethernet1/17". Other names ("eth0",
// "Management1") are of ports that carry no data.
std::optional<std::uint32_t> number_at_end(std::string_view port) {
  constexpr std::array<std::string_view, 4> prefixes{"Port ", "P", "swp", "Ethernet"};
  for (const std::string_view prefix : prefixes) {
    if (!port.starts_with(prefix)) continue;
    port.remove_prefix(prefix.size());
    break;
  }
  if (port.starts_with("1/")) port.remove_prefix(2);
  return whole_number(port);
}

// Without what names the first port of a NIC: "mlx5_1/P1", "mlx5_1/1".
std::string_view without_first_port(std::string_view port) {
  for (const std::string_view ending : {"/P1", "/p1", "/1", ":1"}) {
    if (port.size() > ending.size() && port.ends_with(ending)) {
      return port.substr(0, port.size() - ending.size());
    }
  }
  return port;
}

template <class Id>
std::optional<Id> find_device(const std::unordered_map<std::string, Id>& names,
                              std::string_view device) {
  auto found = names.find(std::string(device));
  if (found == names.end()) found = names.find(std::string(device.substr(0, device.find('.'))));
  if (found == names.end()) return {};
  return found->second;
}

}  // namespace

Ports::Ports(const Fabric& fabric, PortRules rules) : fabric_(fabric), rules_(std::move(rules)) {
  const std::size_t at = rules_.switch_port.find("{}");
  before_number_ = rules_.switch_port.substr(0, at);
  after_number_ = at == std::string::npos ? "" : rules_.switch_port.substr(at + 2);
  numbers_.resize(fabric.graph.nodes().size());
  for (std::uint32_t i = 0; i < fabric.switches.size(); ++i) {
    numbers_[index(fabric.switches[i].node)] = i;
    switches_.emplace(fabric.switches[i].name, SwitchId{i});
  }
  for (std::uint32_t i = 0; i < fabric.nics.size(); ++i) {
    numbers_[index(fabric.nics[i].node)] = i;
  }
  for (std::uint32_t i = 0; i < fabric.servers.size(); ++i) {
    servers_.emplace(fabric.servers[i].name, ServerId{i});
  }
}

std::optional<SwitchId> Ports::switch_of(NodeId node) const {
  if (fabric_.graph.node(node).kind != NodeKind::fabric_switch) return {};
  return SwitchId{numbers_[index(node)]};
}

std::optional<NicId> Ports::nic_of(NodeId node) const {
  if (fabric_.graph.node(node).kind != NodeKind::nic) return {};
  return NicId{numbers_[index(node)]};
}

std::string_view Ports::interface_of(const Nic& nic) const {
  return nic.place < rules_.nic_ports.size() ? rules_.nic_ports[nic.place] : nic.name;
}

NamedEnd Ports::name_of(const CableEnd& end) const {
  if (const auto id = switch_of(end.node)) {
    return {fabric_.at(*id).name, fmt::format("{}{}{}", before_number_, end.port, after_number_)};
  }
  const Nic& nic = fabric_.at(*nic_of(end.node));
  return {fabric_.at(nic.server).name, std::string(interface_of(nic))};
}

std::string Ports::text_of(const CableEnd& end) const {
  const NamedEnd name = name_of(end);
  return fmt::format("{}:{}", name.device, name.port);
}

std::optional<SwitchId> Ports::find_switch(std::string_view device) const {
  return find_device(switches_, device);
}

std::optional<ServerId> Ports::find_server(std::string_view device) const {
  return find_device(servers_, device);
}

bool Ports::knows(std::string_view device) const {
  return find_switch(device).has_value() || find_server(device).has_value();
}

std::optional<CableEnd> Ports::find_port(SwitchId id, std::string_view port) const {
  std::optional<std::uint32_t> number;
  const std::size_t around = before_number_.size() + after_number_.size();
  if (port.size() > around && port.starts_with(before_number_) && port.ends_with(after_number_)) {
    number = whole_number(port.substr(before_number_.size(), port.size() - around));
  }
  if (!number) number = number_at_end(port);
  const Switch& one = fabric_.at(id);
  const std::uint32_t most = one.ports == 0 ? max_port : one.ports;
  if (!number || *number == 0 || *number > most) return {};
  return CableEnd{one.node, *number};
}

std::optional<CableEnd> Ports::find_nic(ServerId id, std::string_view port) const {
  const std::string_view name = without_first_port(port);
  const Server& server = fabric_.at(id);
  const auto is_meant = [&](NicId nic) {
    return fabric_.at(nic).name == name || interface_of(fabric_.at(nic)) == name ||
           fabric_.at(nic).name == port || interface_of(fabric_.at(nic)) == port;
  };
  const auto found = std::ranges::find_if(server.nics, is_meant);
  if (found != server.nics.end()) return CableEnd{fabric_.at(*found).node, 1};
  if (!name.starts_with("HCA-")) return {};
  const auto number = whole_number(name.substr(4));
  if (!number || *number == 0 || *number > server.nics.size()) return {};
  return CableEnd{fabric_.at(server.nics[*number - 1]).node, 1};
}

std::optional<CableEnd> Ports::find(const NamedEnd& end) const {
  if (const auto id = find_switch(end.device)) return find_port(*id, end.port);
  if (const auto id = find_server(end.device)) return find_nic(*id, end.port);
  return {};
}

}  // namespace accl::topology
