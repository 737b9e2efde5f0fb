// builder.h - how readers fill a Machine. They report the tree and every PCI function they see; the
// builder decides once, for all sources, which functions are GPUs and NICs, which are ports of one
// card, and which are decoys.
#pragma once

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "topology/machine/machine.h"

namespace accl::topology {

// What a source says of a PCI function beyond its identity. It outranks vendor and class.
struct Evidence {
  bool is_gpu = false;           // NCCL has a <gpu> here.
  bool is_nvswitch = false;      // hwloc's subtype says so.
  std::vector<Port> rdma_ports;  // Verbs devices, or NCCL's <net>.
  std::string network_name;      // eth0: names a NIC that has no verbs device.
  XmlAttributes gpu_nccl;
};

class MachineBuilder {
 public:
  MachineBuilder(Source source, std::string origin);

  // An index below zero is unknown. The same index gives the same node.
  NodeId numa(int os_index, XmlAttributes processor);
  NodeId host() const { return machine_.host; }
  NodeId host_bridge(NodeId parent, const std::string& name);
  // `seen_at` is where the source says it, for messages. Throws Error(invalid_argument) for a bus
  // id that is already taken.
  NodeId bridge(NodeId parent, BridgeRole role, PciFunction pci, const std::string& seen_at);
  // A function that is no bridge. Those that are neither GPU nor NIC are dropped by finish().
  void function(NodeId parent, int processor, PciFunction pci, Evidence evidence,
                const std::string& seen_at);
  void note(std::string text) { machine_.notes.push_back(std::move(text)); }
  void certainty(std::string text) { machine_.certainty = std::move(text); }

  // Links between two PCI functions that are GPUs or NVSwitches; others are ignored. Reported once
  // for a pair or once from each end: the larger counts.
  void bundle(PciAddress a, PciAddress b, unsigned lanes, double bytes_per_second_of_lane);

  // To be called once. Throws Error(invalid_argument) for more devices than any server has.
  Machine finish();

 private:
  struct Candidate {
    NodeId parent{};
    int processor = -1;
    PciFunction pci;
    Evidence evidence;
  };
  struct PendingBundle {
    PciAddress a;
    PciAddress b;
    unsigned lanes = 0;
    double bytes_per_second_of_lane = 0;
  };

  void take(const PciAddress& address, const std::string& seen_at);
  static bool is_gpu_of(const Candidate& candidate);
  static bool is_nvswitch_of(const Candidate& candidate);
  static bool is_nic(const Candidate& candidate);
  bool is_virtual_twin(const Candidate& candidate) const;
  int numa_of(NodeId node) const;
  void sift();
  void add_gpu(const Candidate& candidate);
  void add_nvswitch(const Candidate& candidate);
  void add_port(const Candidate& candidate);
  void add_bundles();

  Machine machine_;
  std::set<PciAddress> taken_;
  std::vector<Candidate> candidates_;
  std::vector<PendingBundle> bundles_;
};

}  // namespace accl::topology
