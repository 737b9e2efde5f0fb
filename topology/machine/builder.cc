#include "topology/machine/builder.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "accl/base/error.h"

namespace accl::topology {
namespace {

// Larger than any server that is sold; small enough that every later step stays instant.
constexpr std::size_t max_devices = 256;
constexpr std::size_t max_functions = 4096;  // Of GPUs and NICs, with all their virtual ones.

// The functions of one slot: the same but for the function number.
bool same_slot(const PciAddress& a, const PciAddress& b) {
  return std::tie(a.domain, a.bus, a.device) == std::tie(b.domain, b.bus, b.device);
}

// Ports without a name of their own are called after their function.
std::vector<Port> ports_of(const PciFunction& pci, const Evidence& evidence) {
  std::vector<Port> ports = evidence.rdma_ports;
  if (ports.empty()) ports.emplace_back();
  for (Port& port : ports) {
    port.address = pci.address;
    if (port.name.empty()) port.name = evidence.network_name;
    if (port.name.empty()) port.name = to_string(pci.address);
  }
  return ports;
}

}  // namespace

MachineBuilder::MachineBuilder(Source source, std::string origin) {
  machine_.source = source;
  machine_.origin = std::move(origin);
  machine_.host = machine_.graph.add(NodeKind::host, "host");
}

NodeId MachineBuilder::numa(int os_index, XmlAttributes processor) {
  for (const Numa& numa : machine_.numas) {
    if (numa.os_index == os_index) return numa.node;
  }
  const std::string name =
      os_index < 0 ? "numa of unknown number" : fmt::format("numa {}", os_index);
  const NodeId node = machine_.graph.add(NodeKind::numa, name, machine_.host);
  machine_.graph.join(machine_.host, node, 0);
  machine_.numas.push_back({node, os_index, std::move(processor)});
  return node;
}

NodeId MachineBuilder::host_bridge(NodeId parent, const std::string& name) {
  const NodeId node = machine_.graph.add(NodeKind::host_bridge, "host bridge " + name, parent);
  machine_.graph.join(parent, node, 0);
  return node;
}

void MachineBuilder::take(const PciAddress& address, const std::string& seen_at) {
  if (taken_.insert(address).second) return;
  fail(ErrorKind::invalid_argument, "{}: bus id {} is given to a second device", seen_at,
       to_string(address));
}

NodeId MachineBuilder::bridge(NodeId parent, BridgeRole role, PciFunction pci,
                              const std::string& seen_at) {
  take(pci.address, seen_at);
  const NodeKind kind =
      role == BridgeRole::root_port ? NodeKind::pci_root_port : NodeKind::pci_switch;
  const NodeId node = machine_.graph.add(kind, "bridge " + to_string(pci.address), parent);
  machine_.graph.join(parent, node, pci.bytes_per_second);
  machine_.bridges.push_back({node, role, std::move(pci)});
  return node;
}

void MachineBuilder::function(NodeId parent, int processor, PciFunction pci, Evidence evidence,
                              const std::string& seen_at) {
  take(pci.address, seen_at);
  candidates_.push_back({parent, processor, std::move(pci), std::move(evidence)});
}

void MachineBuilder::bundle(PciAddress a, PciAddress b, unsigned lanes,
                            double bytes_per_second_of_lane) {
  if (b < a) std::swap(a, b);
  if (lanes > 0 && a != b) bundles_.push_back({a, b, lanes, bytes_per_second_of_lane});
}

bool MachineBuilder::is_gpu_of(const Candidate& candidate) {
  return candidate.evidence.is_gpu || is_gpu(candidate.pci);
}

bool MachineBuilder::is_nvswitch_of(const Candidate& candidate) {
  if (is_gpu_of(candidate)) return false;
  return candidate.evidence.is_nvswitch || is_nvswitch(candidate.pci);
}

bool MachineBuilder::is_nic(const Candidate& candidate) {
  if (is_gpu_of(candidate) || is_nvswitch_of(candidate)) return false;
  return !candidate.evidence.rdma_ports.empty() || is_fabric_nic(candidate.pci);
}

// A virtual function beside its physical one: same bus and vendor, another device id than the
// bus's first function. Where the physical function is not shown (inside a virtual machine), the
// virtual one is the NIC; and a virtual machine's bus 0 holds whatever was passed through.
bool MachineBuilder::is_virtual_twin(const Candidate& candidate) const {
  if (candidate.pci.address.bus == 0) return false;
  const auto first =
      std::find_if(candidates_.begin(), candidates_.end(), [&](const Candidate& other) {
        return other.pci.address.domain == candidate.pci.address.domain &&
               other.pci.address.bus == candidate.pci.address.bus &&
               other.pci.vendor == candidate.pci.vendor && is_nic(other);
      });
  return first->pci.device != candidate.pci.device;
}

int MachineBuilder::numa_of(NodeId node) const {
  const NodeId numa = machine_.enclosing(node, NodeKind::numa);
  for (const Numa& known : machine_.numas) {
    if (known.node == numa) return known.os_index;
  }
  return -1;
}

void MachineBuilder::add_gpu(const Candidate& candidate) {
  const NodeId node = machine_.graph.add(NodeKind::gpu, "gpu " + to_string(candidate.pci.address),
                                         candidate.parent);
  machine_.graph.join(candidate.parent, node, candidate.pci.bytes_per_second);
  machine_.gpus.push_back(
      {node, numa_of(node), candidate.processor, candidate.pci, candidate.evidence.gpu_nccl});
}

void MachineBuilder::add_nvswitch(const Candidate& candidate) {
  const NodeId node = machine_.graph.add(
      NodeKind::nvswitch, "nvswitch " + to_string(candidate.pci.address), candidate.parent);
  machine_.graph.join(candidate.parent, node, candidate.pci.bytes_per_second);
  machine_.nvswitches.push_back({node, candidate.pci});
}

void MachineBuilder::add_port(const Candidate& candidate) {
  std::vector<Port> ports = ports_of(candidate.pci, candidate.evidence);
  if (!machine_.nics.empty() && machine_.nics.back().pci.vendor == candidate.pci.vendor &&
      same_slot(machine_.nics.back().pci.address, candidate.pci.address)) {
    auto& known = machine_.nics.back().ports;
    known.insert(known.end(), ports.begin(), ports.end());
    return;
  }
  const NodeId node = machine_.graph.add(NodeKind::nic, "nic " + to_string(candidate.pci.address),
                                         candidate.parent);
  machine_.graph.join(candidate.parent, node, candidate.pci.bytes_per_second);
  machine_.nics.push_back({node, numa_of(node), candidate.processor, candidate.pci,
                           ports.front().name, std::move(ports)});
}

void MachineBuilder::add_bundles() {
  std::map<PciAddress, NodeId> ends;
  for (const Gpu& gpu : machine_.gpus) ends[gpu.pci.address] = gpu.node;
  for (const NvSwitch& nvswitch : machine_.nvswitches) ends[nvswitch.pci.address] = nvswitch.node;
  std::map<std::pair<PciAddress, PciAddress>, PendingBundle> widest;
  for (const PendingBundle& pending : bundles_) {
    PendingBundle& best = widest[{pending.a, pending.b}];
    if (best.lanes < pending.lanes) best = pending;
  }
  for (const auto& [pair, pending] : widest) {
    const auto a = ends.find(pair.first);
    const auto b = ends.find(pair.second);
    if (a == ends.end() || b == ends.end()) continue;
    machine_.graph.join(a->second, b->second, pending.lanes * pending.bytes_per_second_of_lane);
    machine_.bundles.push_back({a->second, b->second, pending.lanes});
  }
}

// Drops what is neither GPU nor NIC, and sorts the rest by bus id.
void MachineBuilder::sift() {
  std::erase_if(candidates_, [&](const Candidate& candidate) {
    return !is_gpu_of(candidate) && !is_nvswitch_of(candidate) && !is_nic(candidate);
  });
  if (candidates_.size() > max_functions) {
    fail(ErrorKind::invalid_argument, "{}: {} GPUs and NICs are more than one server has",
         machine_.origin, candidates_.size());
  }
  std::stable_sort(
      candidates_.begin(), candidates_.end(),
      [](const Candidate& a, const Candidate& b) { return a.pci.address < b.pci.address; });
}

Machine MachineBuilder::finish() {
  sift();
  for (const Candidate& candidate : candidates_) {
    if (is_gpu_of(candidate)) add_gpu(candidate);
    if (is_nvswitch_of(candidate)) add_nvswitch(candidate);
  }
  for (const Candidate& candidate : candidates_) {
    if (is_nic(candidate) && !is_virtual_twin(candidate)) add_port(candidate);
  }
  if (machine_.gpus.size() > max_devices || machine_.nics.size() > max_devices) {
    fail(ErrorKind::invalid_argument, "{}: {} GPUs and {} NICs are more than one server has",
         machine_.origin, machine_.gpus.size(), machine_.nics.size());
  }
  add_bundles();
  return std::move(machine_);
}

}  // namespace accl::topology
