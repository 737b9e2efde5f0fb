// export_fabric.cc - the exports that programs of a running cluster read.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <utility>

#include "topology/cabling/exports.h"

namespace accl::topology {
namespace {

// Locally administered, so that no device is sold with one of them.
constexpr std::uint64_t switch_guids = 0x0200'acc1'0000'0000;
constexpr std::uint64_t nic_guids = 0x0200'acc1'8000'0000;
constexpr std::uint32_t least_switch_ports = 8;

std::uint64_t guid_of(SwitchId id) { return switch_guids + index(id); }
// A channel adapter and its port have numbers of their own.
std::uint64_t guid_of(NicId id) { return nic_guids + 2 * std::uint64_t{index(id)}; }

// The name of the cluster, which may hold anything, as a word.
std::string word_of(const std::string& name) {
  std::string word;
  for (const char c : name) {
    const bool is_plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_';
    word += is_plain ? c : '-';
  }
  return word.empty() ? "cluster" : word;
}

class IbWriter {
 public:
  IbWriter(const Fabric& fabric, const CablingPlan& plan)
      : fabric_(fabric), ports_(fabric, plan.rules.ports) {}

  std::string text() {
    text_ = fmt::format("#\n# Topology file: the plan of {}\n#\n", word_of(fabric_.name));
    for (std::uint32_t i = 0; i < fabric_.switches.size(); ++i) add_switch(SwitchId{i});
    for (std::uint32_t i = 0; i < fabric_.nics.size(); ++i) add_nic(NicId{i});
    return std::move(text_);
  }

 private:
  void add_switch(SwitchId id) {
    const Switch& one = fabric_.at(id);
    std::map<std::uint32_t, LinkId> links;
    for (const LinkId link : fabric_.graph.leaving(one.node)) links[near(link).port] = link;
    const std::uint32_t last = links.empty() ? 0 : links.rbegin()->first;
    const std::uint32_t count = std::max({one.ports, last, least_switch_ports});
    text_ += fmt::format(
        "\nvendid=0x0\ndevid=0x0\nsysimgguid=0x{0:x}\nswitchguid=0x{0:x}({0:x})\n"
        "Switch\t{1} \"S-{0:016x}\"\t\t# \"{2}\" base port 0 lid 0 lmc 0\n",
        guid_of(id), count, one.name);
    for (const auto& [port, link] : links) {
      text_ += fmt::format("[{}]\t{}\n", port, far_text(link));
    }
  }

  void add_nic(NicId id) {
    const Nic& nic = fabric_.at(id);
    const std::uint64_t guid = guid_of(id);
    const LinkId link = fabric_.graph.leaving(nic.node).front();
    text_ += fmt::format(
        "\nvendid=0x0\ndevid=0x0\nsysimgguid=0x{0:x}\ncaguid=0x{0:x}\n"
        "Ca\t1 \"H-{0:016x}\"\t\t# \"{1}\"\n[1]({2:x}) \t{3}\n",
        guid, name_of(nic), guid + 1, far_text(link));
  }

  std::string name_of(const Nic& nic) const {
    return fmt::format("{} {}", fabric_.at(nic.server).name, nic.name);
  }

  // Of the cable's ends, the one that the link leaves.
  const CableEnd& near(LinkId link) const {
    const Cable& cable = fabric_.at(fabric_.cable_of(link));
    return cable.link == link ? cable.a : cable.b;
  }

  std::string far_text(LinkId link) const {
    const CableEnd& far = near(reverse(link));
    const std::string speed = infiniband_speed(fabric_.at(fabric_.cable_of(link)).gbps);
    if (const auto id = ports_.switch_of(far.node)) {
      return fmt::format("\"S-{:016x}\"[{}]\t\t# \"{}\" lid 0 {}", guid_of(*id), far.port,
                         fabric_.at(*id).name, speed);
    }
    const NicId id = *ports_.nic_of(far.node);
    return fmt::format("\"H-{:016x}\"[1]({:x}) \t\t# \"{}\" lid 0 {}", guid_of(id), guid_of(id) + 1,
                       name_of(fabric_.at(id)), speed);
  }

  const Fabric& fabric_;
  const Ports ports_;
  std::string text_;
};

// A name in two parts: all before its last digits, and those.
struct Numbered {
  std::string before;
  std::string digits;
};

Numbered split(const std::string& name) {
  std::size_t at = name.size();
  while (at > 0 && std::isdigit(static_cast<unsigned char>(name[at - 1])) != 0) --at;
  at = std::max(at, name.size() - std::min<std::size_t>(name.size(), 9));  // Fits a number.
  return {.before = name.substr(0, at), .digits = name.substr(at)};
}

// "00-03,07" of numbers with as many digits each, in rising order without repeats.
std::string ranges(const std::vector<std::string>& numbers) {
  std::string text;
  for (std::size_t first = 0; first < numbers.size();) {
    std::size_t last = first;
    while (last + 1 < numbers.size() &&
           std::stoul(numbers[last + 1]) == std::stoul(numbers[last]) + 1) {
      ++last;
    }
    if (!text.empty()) text += ',';
    text += numbers[first];
    if (last > first) text += '-' + numbers[last];
    first = last + 1;
  }
  return text;
}

}  // namespace

std::string infiniband_speed(double gbps) {
  constexpr std::array<std::pair<double, std::string_view>, 17> speeds{{{2.5, "1xSDR"},
                                                                        {5, "1xDDR"},
                                                                        {10, "4xSDR"},
                                                                        {14, "1xFDR"},
                                                                        {20, "4xDDR"},
                                                                        {25, "1xEDR"},
                                                                        {40, "4xQDR"},
                                                                        {50, "2xEDR"},
                                                                        {56, "4xFDR"},
                                                                        {100, "4xEDR"},
                                                                        {112, "8xFDR"},
                                                                        {120, "12xQDR"},
                                                                        {168, "12xFDR"},
                                                                        {200, "4xHDR"},
                                                                        {300, "12xEDR"},
                                                                        {400, "4xNDR"},
                                                                        {800, "4xXDR"}}};
  for (const auto& [speed, name] : speeds) {
    if (speed == gbps) return std::string(name);
  }
  return "";
}

std::string ibnetdiscover_text(const Fabric& fabric, const CablingPlan& plan) {
  return IbWriter(fabric, plan).text();
}

std::string ptm_dot(const Fabric& fabric, const CablingPlan& plan) {
  const Ports ports(fabric, plan.rules.ports);
  std::string text = fmt::format("graph \"{}\" {{\n", word_of(fabric.name));
  for (const Cable& cable : fabric.cables) {
    const NamedEnd a = ports.name_of(cable.a);
    const NamedEnd b = ports.name_of(cable.b);
    text += fmt::format("    \"{}\":\"{}\" -- \"{}\":\"{}\"\n", a.device, a.port, b.device, b.port);
  }
  return text + "}\n";
}

std::string host_list(std::vector<std::string> names) {
  // By what stands before the number and how many digits it has: "node9" and "node10" cannot share
  // a range that keeps zeros.
  std::map<std::pair<std::string, std::size_t>, std::vector<std::string>> groups;
  std::ranges::sort(names);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  for (const std::string& name : names) {
    const Numbered parts = split(name);
    groups[{parts.before, parts.digits.size()}].push_back(parts.digits);
  }
  std::string text;
  for (const auto& [group, numbers] : groups) {
    if (!text.empty()) text += ',';
    text += group.first;
    if (group.second == 0) continue;
    text += numbers.size() == 1 ? numbers.front() : '[' + ranges(numbers) + ']';
  }
  return text;
}

std::string slurm_conf(const Fabric& fabric, const CablingPlan&) {
  std::vector<std::vector<std::string>> nodes(fabric.switches.size());
  for (const Server& server : fabric.servers) {
    nodes[index(fabric.at(server.nics.front()).at)].push_back(server.name);
  }
  const std::string root = word_of(fabric.name);
  std::string text = fmt::format(
      "# {}: a leaf a switch, and a root that is none. Slurm wants every node at one leaf: here\n"
      "# that of its first NIC. The fabric is no tree, so no distance above a leaf means "
      "anything.\n",
      root);
  std::vector<std::string> leaves;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const std::string& name = fabric.switches[i].name;
    if (nodes[i].empty()) {
      text += fmt::format("# {}: no server's first NIC\n", name);
      continue;
    }
    text += fmt::format("SwitchName={} Nodes={}\n", name, host_list(nodes[i]));
    leaves.push_back(name);
  }
  return text + fmt::format("SwitchName={}-root Switches={}\n", root, host_list(leaves));
}

std::string containerlab_yaml(const Fabric& fabric, const CablingPlan& plan) {
  const Ports ports(fabric, plan.rules.ports);
  std::string text =
      fmt::format("name: {}\ntopology:\n  kinds:\n    linux: {{image: \"debian:12\"}}\n  nodes:\n",
                  word_of(fabric.name));
  for (const Switch& one : fabric.switches) {
    text += fmt::format("    \"{}\": {{kind: linux, group: {}}}\n", one.name, name_of(one.side));
  }
  for (const Server& server : fabric.servers) {
    text += fmt::format("    \"{}\": {{kind: linux, group: server}}\n", server.name);
  }
  text += "  links:\n";
  for (const Cable& cable : fabric.cables) {
    text += fmt::format("    - endpoints: [\"{}\", \"{}\"]\n", ports.text_of(cable.a),
                        ports.text_of(cable.b));
  }
  return text;
}

}  // namespace accl::topology
