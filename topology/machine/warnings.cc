#include "topology/machine/warnings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

namespace accl::topology {
namespace {

std::string label_of(const Machine& machine, GpuId gpu) {
  return fmt::format("GPU{} ({})", index(gpu), to_string(machine.gpu(gpu).pci.address));
}

std::string joined(const std::vector<std::string>& words) {
  return fmt::format("{}", fmt::join(words, ", "));
}

// "GPU1 has", "GPU1, GPU2 have".
std::string subject(const std::vector<std::string>& words, const char* one, const char* several) {
  return fmt::format("{} {}", joined(words), words.size() == 1 ? one : several);
}

class Inspector {
 public:
  Inspector(const Machine& machine, std::span<const Pair> pairs)
      : machine_(machine), pairs_(pairs) {}

  std::vector<std::string> run() {
    if (machine_.gpus.empty()) warn("No GPU found.");
    if (machine_.nics.empty()) {
      warn(
          "No NIC found that GPUs can send through (InfiniBand, RoCE, Omni-Path, Slingshot, EFA); "
          "plain Ethernet ports do not count.");
    }
    const bool is_blind = hides_switches();
    if (is_blind) warn_hidden();
    unfit();
    if (!is_blind) off_switch();
    shared_nics();
    shared_root_ports();
    idle_nics();
    no_affinity();
    warnings_.insert(warnings_.end(), machine_.notes.begin(), machine_.notes.end());
    return warnings_;
  }

 private:
  void warn(std::string text) { warnings_.push_back(std::move(text)); }

  bool is_under_switch(NodeId node) const {
    for (; node != no_node; node = machine_.graph.node(node).parent) {
      const Bridge* bridge = machine_.bridge_at(node);
      if (bridge != nullptr && bridge->role == BridgeRole::upstream) return true;
    }
    return false;
  }

  // Several GPUs, several NICs, and not one of them under a switch: physical servers of that kind
  // are rare, virtual machines that show them so are the rule.
  bool hides_switches() const {
    if (machine_.gpus.size() < 2 || machine_.nics.size() < 2) return false;
    return std::none_of(machine_.gpus.begin(), machine_.gpus.end(),
                        [&](const Gpu& gpu) { return is_under_switch(gpu.node); }) &&
           std::none_of(machine_.nics.begin(), machine_.nics.end(),
                        [&](const Nic& nic) { return is_under_switch(nic.node); });
  }

  void warn_hidden() {
    warn(fmt::format(
        "No PCIe switch is visible above any of the {} GPUs and {} NICs: a virtual machine that "
        "hides the real switches, or a file saved without bridges. The pairing below is a guess by "
        "bus id. Give the topology of the bare machine (--hwloc or --nccl), or put it onto this "
        "one's bus ids with `accl-topo transplant BARE.xml --onto VM.xml`.",
        machine_.gpus.size(), machine_.nics.size()));
  }

  void unfit() {
    std::vector<std::string> names;
    for (const NicId nic : unfit_nics(machine_)) names.push_back(machine_.nic(nic).name);
    if (names.empty()) return;
    warn(subject(names, "is", "are") +
         " not used: down, or with less than a quarter of the fastest NIC's rate.");
  }

  void off_switch() {
    std::map<PathType, std::vector<std::string>> gpus;
    for (const Pair& pair : pairs_) {
      if (!shares_switch(pair.path)) gpus[pair.path].push_back(label_of(machine_, pair.gpu));
    }
    for (const auto& [path, labels] : gpus) {
      const char* way = path == PathType::phb    ? "through the CPU's host bridge (PHB)"
                        : path == PathType::node ? "from one host bridge to another (NODE)"
                                                 : "from one NUMA node to another (SYS)";
      warn(fmt::format("{} no NIC under the same PCIe switch; the traffic goes {}.",
                       subject(labels, "has", "have"), way));
    }
  }

  void shared_nics() {
    std::map<NicId, std::vector<std::string>> users;
    for (const Pair& pair : pairs_) users[pair.nic].push_back(label_of(machine_, pair.gpu));
    for (const auto& [id, gpus] : users) {
      if (gpus.size() < 2) continue;
      const Nic& nic = machine_.nic(id);
      const bool has_ports_for_all = nic.ports.size() >= gpus.size();
      warn(fmt::format("NIC {} is shared by {} GPUs: {}{}", nic.name, gpus.size(), joined(gpus),
                       has_ports_for_all ? "; each has a port, all share its PCIe link." : "."));
    }
  }

  // The bridge next to the CPU.
  NodeId root_port_of(NodeId node) const {
    NodeId top = no_node;
    for (; node != no_node; node = machine_.graph.node(node).parent) {
      if (machine_.bridge_at(node) != nullptr) top = node;
    }
    return top;
  }

  void shared_root_ports() {
    std::map<NodeId, std::vector<std::string>> gpus;
    std::map<NodeId, std::vector<std::string>> nics;
    for (std::uint32_t i = 0; i < machine_.gpus.size(); ++i) {
      gpus[root_port_of(machine_.gpus[i].node)].push_back(label_of(machine_, GpuId{i}));
    }
    for (const Nic& nic : machine_.nics) nics[root_port_of(nic.node)].push_back(nic.name);
    for (const auto& [port, labels] : gpus) {
      if (port != no_node && labels.size() > 1) shared_root_port(port, labels, nics[port]);
    }
    for (const auto& [port, names] : nics) {
      if (port != no_node && names.size() > 1 && gpus[port].size() < 2) {
        shared_root_port(port, gpus[port], names);
      }
    }
  }

  void shared_root_port(NodeId port, std::vector<std::string> devices,
                        const std::vector<std::string>& nics) {
    for (const std::string& nic : nics) devices.push_back("NIC " + nic);
    warn(fmt::format("One link to the CPU, at {}, carries {} busy devices: {}.",
                     machine_.graph.node(port).name, devices.size(), joined(devices)));
  }

  void idle_nics() {
    if (machine_.gpus.empty()) return;
    const std::vector<NicId> unfit = unfit_nics(machine_);
    std::vector<std::string> idle;
    for (std::uint32_t i = 0; i < machine_.nics.size(); ++i) {
      const bool is_used = std::any_of(pairs_.begin(), pairs_.end(),
                                       [&](const Pair& pair) { return pair.nic == NicId{i}; });
      const bool is_unfit = std::find(unfit.begin(), unfit.end(), NicId{i}) != unfit.end();
      if (!is_used && !is_unfit) idle.push_back(machine_.nics[i].name);
    }
    if (!idle.empty()) {
      warn(subject(idle, "serves", "serve") + " no GPU: there are more NICs than GPUs.");
    }
  }

  void no_affinity() {
    std::vector<std::string> lost;
    for (std::uint32_t i = 0; i < machine_.gpus.size(); ++i) {
      if (machine_.gpus[i].numa < 0) lost.push_back(label_of(machine_, GpuId{i}));
    }
    for (const Nic& nic : machine_.nics) {
      if (nic.numa < 0) lost.push_back("NIC " + nic.name);
    }
    if (lost.empty()) return;
    warn(
        fmt::format("The source does not say which NUMA node is next to {}. Where the BIOS is "
                    "wrong, HWLOC_PCI_LOCALITY=\"DOMAIN:BUS-BUS CPUSET;...\" says it to hwloc.",
                    joined(lost)));
  }

  const Machine& machine_;
  const std::span<const Pair> pairs_;
  std::vector<std::string> warnings_;
};

}  // namespace

std::vector<std::string> warnings_of(const Machine& machine, std::span<const Pair> pairs) {
  return Inspector(machine, pairs).run();
}

}  // namespace accl::topology
