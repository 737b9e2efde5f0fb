#include "topology/machine/nccl_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "accl/base/error.h"
#include "topology/machine/builder.h"
#include "topology/machine/xml_tree.h"

namespace accl::topology {
namespace {

// NCCL itself holds 256 elements; RCCL 1024 and more. Beyond this it is something else.
constexpr XmlLimits limits{.elements = 20'000, .depth = 64};
constexpr std::uint32_t class_nvswitch = 0x068000;
// All NVSwitches that a virtual machine does not show, as NCCL sees them: one.
constexpr PciAddress hidden_nvswitch{0xffff'ffff, 0xff, 31, 7};

// Per NVLink, one direction. 0: unknown, and so for all of xGMI.
double bytes_per_second_of_lane(const XmlElement& gpu) {
  const int sm = parse_int(gpu.get("sm")).value_or(0);
  if (gpu.has("gcn") || sm < 60) return 0;
  if (sm < 70) return 20e9;
  return sm < 100 ? 25e9 : 50e9;
}

class Reader {
 public:
  Reader(MachineBuilder& builder, const std::string& name) : builder_(builder), name_(name) {}

  void read(const XmlElement& system) {
    check_system(system);
    for (const XmlElement& child : system.children) {
      if (child.name == "cpu") cpu(child);
    }
    for (const Link& link : links_) add_link(link);
    if (unknown_devices_ > 0) {
      builder_.note(
          fmt::format("{} PCI devices have neither class nor <gpu> or <nic> in the file "
                      "and are left out.",
                      unknown_devices_));
    }
  }

 private:
  struct Link {
    const XmlElement* element;
    PciAddress from;
    double bytes_per_second_of_lane;
  };

  [[noreturn]] void reject(const XmlElement& at, const std::string& what) const {
    fail(ErrorKind::invalid_argument, "{}:{}: {}", name_, at.line, what);
  }

  std::string place_of(const XmlElement& element) const {
    return fmt::format("{}:{}", name_, element.line);
  }

  void check_system(const XmlElement& system) const {
    if (system.name == "topology") {
      reject(system, "this is a topology of hwloc, not of NCCL; read it with --hwloc");
    }
    if (system.name == "graphs") {
      reject(system, "this holds NCCL's graphs; its topology is what NCCL_TOPO_DUMP_FILE writes");
    }
    if (system.name != "system") {
      reject(system, fmt::format("this is no topology of NCCL (it begins with <{}>)", system.name));
    }
    const std::string_view version = system.get("version");
    if (version != "1" && version != "2") {
      reject(system, fmt::format("version \"{}\" of NCCL's topology is unknown", version));
    }
  }

  void cpu(const XmlElement& element) {
    const auto numa = parse_int(element.get("numaid"));
    if (!numa || *numa < -1) reject(element, "a <cpu> has no numaid");
    XmlAttributes processor = element.attributes;
    std::erase_if(processor, [](const auto& pair) {
      return pair.first == "numaid" || pair.first == "socket";
    });
    const NodeId node = builder_.numa(*numa, std::move(processor));
    socket_ = parse_int(element.get("socket")).value_or(*numa);
    host_bridges_.clear();
    for (const XmlElement& child : element.children) {
      if (child.name == "nic") virtual_nic(child);
      if (child.name != "pci") continue;
      // NCCL does not record host bridges. Files of ours add which one (nccl_writer.h).
      const std::string root =
          child.has("root") ? std::string(child.get("root")) : fmt::format("cpu {}", *numa);
      auto known = std::find_if(host_bridges_.begin(), host_bridges_.end(),
                                [&](const auto& pair) { return pair.first == root; });
      if (known == host_bridges_.end()) {
        host_bridges_.emplace_back(root, builder_.host_bridge(node, root));
        known = host_bridges_.end() - 1;
      }
      pci(child, known->second);
    }
  }

  void virtual_nic(const XmlElement& nic) {
    for (const XmlElement& net : nic.children) {
      builder_.note(fmt::format("Network device {} has no PCI address in the file and is left out.",
                                net.get("name")));
    }
  }

  std::uint64_t number(const XmlElement& element, std::string_view key, std::uint64_t max) const {
    if (!element.has(key)) return 0;
    const auto value = parse_number(element.get(key));
    if (!value || *value > max) {
      reject(element, fmt::format("{}=\"{:.40}\" is no number of its kind", key, element.get(key)));
    }
    return *value;
  }

  PciFunction function_of(const XmlElement& element) const {
    const auto address = parse_pci_address(element.get("busid"));
    if (!address) {
      reject(element, fmt::format("a <pci> has no bus id (\"{:.40}\")", element.get("busid")));
    }
    PciFunction pci;
    pci.address = *address;
    pci.class_code = static_cast<std::uint32_t>(number(element, "class", 0xff'ffff));
    const auto id = [&](std::string_view key) {
      return static_cast<std::uint16_t>(number(element, key, 0xffff));
    };
    pci.vendor = id("vendor");
    pci.device = id("device");
    pci.subsystem_vendor = id("subsystem_vendor");
    pci.subsystem_device = id("subsystem_device");
    pci.link_speed = element.get("link_speed");
    pci.link_width = static_cast<unsigned>(number(element, "link_width", 64));
    pci.bytes_per_second = link_bytes_per_second(pci.link_speed, pci.link_width);
    return pci;
  }

  void pci(const XmlElement& element, NodeId parent) {
    PciFunction function = function_of(element);
    const bool has_devices =
        std::any_of(element.children.begin(), element.children.end(),
                    [](const XmlElement& child) { return child.name == "pci"; });
    if (!has_devices && class_of(function) != class_bridge) {
      leaf(element, parent, std::move(function));
      return;
    }
    const NodeId node =
        builder_.bridge(parent, BridgeRole::upstream, std::move(function), place_of(element));
    for (const XmlElement& child : element.children) {
      if (child.name == "pci") pci(child, node);
    }
  }

  void leaf(const XmlElement& element, NodeId parent, PciFunction function) {
    Evidence evidence;
    for (const XmlElement& child : element.children) {
      if (child.name == "gpu") gpu(child, function.address, evidence);
      if (child.name == "nic") nic(child, evidence);
    }
    const bool is_known = evidence.is_gpu || !evidence.rdma_ports.empty();
    if (!is_known && function.class_code == 0) ++unknown_devices_;
    if (!is_known && class_of(function) == 0x0200 && function.vendor == 0) {
      // Such files list only what NCCL is to use: it is a NIC, of whatever make.
      evidence.rdma_ports.emplace_back();
    }
    builder_.function(parent, socket_, std::move(function), std::move(evidence), place_of(element));
  }

  void gpu(const XmlElement& element, const PciAddress& address, Evidence& evidence) {
    evidence.is_gpu = true;
    evidence.gpu_nccl = element.attributes;
    for (const XmlElement& link : element.children) {
      const bool is_link = link.name == "nvlink" || link.name == "xgmi";
      if (is_link) links_.push_back({&link, address, bytes_per_second_of_lane(element)});
    }
  }

  void nic(const XmlElement& element, Evidence& evidence) const {
    const std::size_t nets = static_cast<std::size_t>(
        std::count_if(element.children.begin(), element.children.end(),
                      [](const XmlElement& child) { return child.name == "net"; }));
    for (const XmlElement& net : element.children) {
      if (net.name != "net") continue;
      Port port;
      port.name = net.get("name");
      port.guid = net.get("guid");
      port.bits_per_second = static_cast<double>(number(net, "speed", 10'000'000)) * 1e6;
      port.nccl = net.attributes;
      const bool needs_number = nets > 1 && is_name_taken(evidence.rdma_ports, port.name);
      if (needs_number) port.name += fmt::format(":{}", net.get("port"));
      evidence.rdma_ports.push_back(std::move(port));
    }
  }

  // A verbs device with two ports is two <net> of one name.
  static bool is_name_taken(const std::vector<Port>& ports, const std::string& name) {
    return std::any_of(ports.begin(), ports.end(),
                       [&](const Port& port) { return port.name == name; });
  }

  void add_link(const Link& link) {
    const std::uint64_t lanes = number(*link.element, "count", 1024);
    const bool is_nvswitch = number(*link.element, "tclass", 0xff'ffff) == class_nvswitch;
    auto target = parse_pci_address(link.element->get("target"));
    if (!target && is_nvswitch) target = hidden_nvswitch;
    if (!target) return;  // A POWER processor, or nothing we know.
    if (is_nvswitch && nvswitches_.insert(*target).second) {
      PciFunction pci;
      pci.address = *target;
      Evidence evidence;
      evidence.is_nvswitch = true;
      builder_.function(builder_.host(), -1, pci, evidence, place_of(*link.element));
    }
    builder_.bundle(link.from, *target, static_cast<unsigned>(lanes),
                    link.bytes_per_second_of_lane);
  }

  MachineBuilder& builder_;
  const std::string& name_;
  int socket_ = -1;
  std::vector<std::pair<std::string, NodeId>> host_bridges_;  // Of the <cpu> being read.
  std::vector<Link> links_;
  std::set<PciAddress> nvswitches_;
  unsigned unknown_devices_ = 0;
};

}  // namespace

Machine read_nccl_text(std::string_view text, const std::string& name) {
  const XmlElement system = parse_xml(text, name, limits);
  MachineBuilder builder(Source::nccl_file, name);
  builder.certainty(
      "NCCL's files name no host bridges and no root ports: what they show as PHB can "
      "be NODE.");
  Reader(builder, name).read(system);
  return builder.finish();
}

}  // namespace accl::topology
