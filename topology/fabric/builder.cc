#include "topology/fabric/builder.h"

#include <fmt/format.h>

#include <algorithm>

#include "accl/base/assert.h"

namespace accl::topology {
namespace {

constexpr double bytes_per_second_of_gbps = 1e9 / 8;

// Names travel into CSV files, host lists and shell commands.
bool is_plain(const std::string& name) {
  constexpr std::string_view marks = "-_./:+";
  return !name.empty() && name.size() <= 64 && std::ranges::all_of(name, [&](char c) {
    const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return is_letter || (c >= '0' && c <= '9') || marks.find(c) != std::string_view::npos;
  });
}

}  // namespace

std::string Builder::numbered(const std::string& pattern, std::uint32_t number) const {
  const std::size_t open = pattern.find('{');
  const std::size_t close = pattern.find('}');
  if (open == std::string::npos && close == std::string::npos) return pattern;
  const std::string field = close > open && close != std::string::npos
                                ? pattern.substr(open, close - open + 1)
                                : std::string();
  const bool is_plain = field == "{}";
  const bool is_padded =
      field.size() == 5 && field.starts_with("{:0") && field[3] >= '1' && field[3] <= '9';
  const bool is_only = pattern.find_first_of("{}", close + 1) == std::string::npos;
  if ((!is_plain && !is_padded) || !is_only) {
    spec_.complain(
        fmt::format("name '{}': {{}} or {{:03}} stands for the number", pattern.substr(0, 64)));
  }
  const int width = is_padded ? field[3] - '0' : 0;
  return fmt::format("{}{:0{}}{}", pattern.substr(0, open), number, width,
                     pattern.substr(close + 1));
}

void Builder::claim_name(const std::string& name) {
  if (!is_plain(name)) {
    spec_.complain(fmt::format("name '{}': must be 1 to 64 letters, digits and - _ . / : +", name));
  }
  if (!names_.insert(name).second) {
    spec_.complain(
        fmt::format("name '{}': comes twice; put {{}} into the pattern, or rename one", name));
  }
}

SwitchId Builder::add_switch(Switch added) {
  claim_name(added.name);
  added.node = fabric_.graph.add(NodeKind::fabric_switch, added.name);
  fabric_.switches.push_back(std::move(added));
  used_ports_.push_back(0);
  return SwitchId{static_cast<std::uint32_t>(fabric_.switches.size() - 1)};
}

ServerId Builder::add_server(const std::string& name, std::uint32_t gpus, std::uint32_t nics,
                             const std::string& nic_pattern) {
  claim_name(name);
  const ServerId id{static_cast<std::uint32_t>(fabric_.servers.size())};
  Server server;
  server.node = fabric_.graph.add(NodeKind::host, name);
  server.name = name;
  server.gpus = gpus;
  for (std::uint32_t place = 0; place < nics; ++place) {
    Nic nic;
    nic.server = id;
    nic.place = place;
    nic.name = numbered(nic_pattern, place);
    claim_name(name + "/" + nic.name);
    nic.node = fabric_.graph.add(NodeKind::nic, name + "/" + nic.name, server.node);
    server.nics.push_back(NicId{static_cast<std::uint32_t>(fabric_.nics.size())});
    nic.at = SwitchId{0xFFFF'FFFF};
    fabric_.nics.push_back(std::move(nic));
  }
  fabric_.servers.push_back(std::move(server));
  return id;
}

void Builder::plug(NicId nic_id, SwitchId at, double gbps) {
  Nic& nic = fabric_.nics[index(nic_id)];
  nic.at = at;
  nic.port = next_port(at);
  nic.cable = CableId{static_cast<std::uint32_t>(fabric_.cables.size())};
  const NodeId above = fabric_.at(at).node;
  const LinkId link = fabric_.graph.join(nic.node, above, gbps * bytes_per_second_of_gbps);
  fabric_.cables.push_back(
      {.a = {nic.node, 1}, .b = {above, nic.port}, .link = link, .gbps = gbps});
}

void Builder::join(SwitchId a, SwitchId b, std::uint32_t cables, double gbps) {
  std::uint32_t& lanes = lanes_[std::minmax(a, b)];
  for (std::uint32_t i = 0; i < cables; ++i) {
    const CableEnd end_a{fabric_.at(a).node, next_port(a)};
    const CableEnd end_b{fabric_.at(b).node, next_port(b)};
    const LinkId link = fabric_.graph.join(end_a.node, end_b.node, gbps * bytes_per_second_of_gbps);
    fabric_.cables.push_back({.a = end_a,
                              .b = end_b,
                              .link = link,
                              .gbps = gbps,
                              .joins_switches = true,
                              .lane = lanes++});
  }
  fabric_.cables_per_pair = std::max(fabric_.cables_per_pair, lanes);
}

Fabric Builder::finish() {
  for (std::uint32_t i = 0; i < used_ports_.size(); ++i) {
    const Switch& one = fabric_.switches[i];
    if (one.ports == 0 || used_ports_[i] <= one.ports) continue;
    spec_.complain(
        fmt::format("switch {} has {} ports and needs {}", one.name, one.ports, used_ports_[i]));
  }
  for (const Nic& nic : fabric_.nics) {
    ACCL_ASSERT(index(nic.at) < fabric_.switches.size(), nic.name, index(nic.at));
  }
  return std::move(fabric_);
}

}  // namespace accl::topology
