#include "topology/machine/nccl_writer.h"

#include <fmt/format.h>

#include <algorithm>

#include "accl/base/error.h"

namespace accl::topology {
namespace {

constexpr std::string_view bridge_prefix = "host bridge ";

class Writer {
 public:
  Writer(const Machine& machine, bool with_links) : machine_(machine), with_links_(with_links) {
    children_.resize(machine.graph.nodes().size());
    needed_.resize(children_.size());
    for (std::size_t i = 0; i < children_.size(); ++i) {
      const NodeId parent = machine.graph.nodes()[i].parent;
      if (parent != no_node) children_[index(parent)].push_back(NodeId(i));
    }
    for (const Gpu& gpu : machine.gpus) need(gpu.node);
    for (const Nic& nic : machine.nics) need(nic.node);
  }

  std::string write() {
    open(0, fmt::format("system version=\"{}\"", is_for_rccl() ? 2 : 1));
    for (const Numa& numa : machine_.numas) {
      if (needed_[index(numa.node)]) cpu(numa.os_index, numa.processor, numa.node);
    }
    const auto& top = children_[index(machine_.host)];
    const bool has_strays = std::any_of(top.begin(), top.end(), [&](NodeId node) {
      return needed_[index(node)] && machine_.graph.node(node).kind != NodeKind::numa;
    });
    if (has_strays) cpu(-1, {}, machine_.host);
    close(0, "system");
    return out_;
  }

  std::size_t elements() const { return elements_; }

 private:
  void need(NodeId node) {
    for (; node != no_node; node = machine_.graph.node(node).parent) needed_[index(node)] = true;
  }

  // RCCL insists on version 2, NCCL on version 1.
  bool is_for_rccl() const {
    return !machine_.gpus.empty() &&
           (vendor_name(machine_.gpus[0].pci.vendor) == "AMD" || !gcn_of(machine_.gpus[0]).empty());
  }

  static std::string gcn_of(const Gpu& gpu) {
    for (const auto& [key, value] : gpu.nccl) {
      if (key == "gcn") return value;
    }
    return {};
  }

  void open(unsigned depth, const std::string& start) {
    out_ += fmt::format("{:{}}<{}>\n", "", depth * 2, start);
    ++elements_;
  }
  void close(unsigned depth, std::string_view name) {
    out_ += fmt::format("{:{}}</{}>\n", "", depth * 2, name);
  }
  void empty(unsigned depth, const std::string& start) { open(depth, start + "/"); }

  static std::string attributes_text(const XmlAttributes& attributes) {
    std::string text;
    for (const auto& [key, value] : attributes) {
      text += fmt::format(" {}=\"{}\"", key, xml_escaped(value));
    }
    return text;
  }

  int socket_below(NodeId node) const {
    for (const Gpu& gpu : machine_.gpus) {
      if (machine_.enclosing(gpu.node, NodeKind::numa) == node) return gpu.processor;
    }
    for (const Nic& nic : machine_.nics) {
      if (machine_.enclosing(nic.node, NodeKind::numa) == node) return nic.processor;
    }
    return -1;
  }

  void cpu(int os_index, const XmlAttributes& processor, NodeId node) {
    const int socket = socket_below(node);
    const bool is_plain = socket < 0 || socket == os_index;
    open(1, fmt::format("cpu numaid=\"{}\"{}{}", os_index, attributes_text(processor),
                        is_plain ? "" : fmt::format(" socket=\"{}\"", socket)));
    for (const NodeId child : children_[index(node)]) {
      if (machine_.graph.node(child).kind != NodeKind::numa) below(child, 2, "");
    }
    close(1, "cpu");
  }

  std::size_t needed_children(NodeId node) const {
    const auto& children = children_[index(node)];
    return static_cast<std::size_t>(std::count_if(
        children.begin(), children.end(), [&](NodeId child) { return needed_[index(child)]; }));
  }

  // `root` names the host bridge to the elements directly below a <cpu>.
  void below(NodeId node, unsigned depth, const std::string& root) {
    if (!needed_[index(node)]) return;
    const Node& known = machine_.graph.node(node);
    if (known.kind == NodeKind::gpu) return gpu(node, depth, root);
    if (known.kind == NodeKind::nic) return nic(node, depth, root);
    if (known.kind == NodeKind::host_bridge) {
      const std::string name = known.name.substr(bridge_prefix.size());
      const bool is_invented = name.starts_with("cpu ");
      return children(node, depth,
                      is_invented ? "" : fmt::format(" root=\"{}\"", xml_escaped(name)));
    }
    const Bridge* bridge = machine_.bridge_at(node);
    // Ports of a switch are part of it; a root port matters where two devices meet at it.
    if (bridge->role != BridgeRole::upstream && needed_children(node) < 2) {
      return children(node, depth, root);
    }
    open(depth, pci_start(bridge->pci, root));
    children(node, depth + 1, "");
    close(depth, "pci");
  }

  void children(NodeId node, unsigned depth, const std::string& root) {
    for (const NodeId child : children_[index(node)]) below(child, depth, root);
  }

  static std::string pci_start(const PciFunction& pci, const std::string& root) {
    std::string text = fmt::format("pci busid=\"{}\" class=\"0x{:06x}\"", to_string(pci.address),
                                   pci.class_code == 0 ? class_bridge << 8 : pci.class_code);
    if (pci.vendor != 0) {
      text += fmt::format(
          " vendor=\"0x{:04x}\" device=\"0x{:04x}\" subsystem_vendor=\"0x{:04x}\" "
          "subsystem_device=\"0x{:04x}\"",
          pci.vendor, pci.device, pci.subsystem_vendor, pci.subsystem_device);
    }
    return text + fmt::format(" link_speed=\"{}\" link_width=\"{}\"{}", xml_escaped(pci.link_speed),
                              pci.link_width, root);
  }

  void gpu(NodeId node, unsigned depth, const std::string& root) {
    const auto known = std::find_if(machine_.gpus.begin(), machine_.gpus.end(),
                                    [&](const Gpu& gpu) { return gpu.node == node; });
    PciFunction pci = known->pci;
    if (pci.class_code == 0) pci.class_code = 0x030200;
    // NCCL fills a <gpu> itself where the file has none.
    if (known->nccl.empty()) return empty(depth, pci_start(pci, root));
    open(depth, pci_start(pci, root));
    const std::vector<std::string> links =
        with_links_ ? links_of(*known) : std::vector<std::string>{};
    const std::string start = "gpu" + attributes_text(known->nccl);
    if (links.empty()) {
      empty(depth + 1, start);
    } else {
      open(depth + 1, start);
      for (const std::string& link : links) empty(depth + 2, link);
      close(depth + 1, "gpu");
    }
    close(depth, "pci");
  }

  std::vector<std::string> links_of(const Gpu& gpu) const {
    std::vector<std::string> links;
    const std::string_view name = is_for_rccl() ? "xgmi" : "nvlink";
    for (const Bundle& bundle : machine_.bundles) {
      if (bundle.a != gpu.node && bundle.b != gpu.node) continue;
      const PciFunction& other = function_at(bundle.a == gpu.node ? bundle.b : bundle.a);
      links.push_back(fmt::format("{} target=\"{}\" count=\"{}\" tclass=\"0x{:06x}\"", name,
                                  to_string(other.address), bundle.lanes,
                                  other.class_code == 0 ? 0x068000 : other.class_code));
    }
    return links;
  }

  const PciFunction& function_at(NodeId node) const {
    for (const Gpu& gpu : machine_.gpus) {
      if (gpu.node == node) return gpu.pci;
    }
    for (const NvSwitch& nvswitch : machine_.nvswitches) {
      if (nvswitch.node == node) return nvswitch.pci;
    }
    fail(ErrorKind::invalid_argument, "{}: an NVLink ends in nothing", machine_.origin);
  }

  // One element for each function of the card.
  void nic(NodeId node, unsigned depth, const std::string& root) {
    const auto known = std::find_if(machine_.nics.begin(), machine_.nics.end(),
                                    [&](const Nic& nic) { return nic.node == node; });
    for (std::size_t i = 0; i < known->ports.size();) {
      PciFunction pci = known->pci;
      pci.address = known->ports[i].address;
      if (pci.class_code == 0) pci.class_code = 0x020000;
      open(depth, pci_start(pci, root));
      open(depth + 1, "nic");
      for (; i < known->ports.size() && known->ports[i].address == pci.address; ++i) {
        empty(depth + 2, net_start(known->ports[i]));
      }
      close(depth + 1, "nic");
      close(depth, "pci");
    }
  }

  // hwloc's "mlx4_0:2" is NCCL's name="mlx4_0" port="2".
  std::string net_start(const Port& port) {
    if (!port.nccl.empty()) return "net" + attributes_text(port.nccl);
    const std::size_t colon = port.name.find(':');
    const bool has_number = colon != std::string::npos && colon + 2 == port.name.size();
    return fmt::format("net name=\"{}\" dev=\"{}\" port=\"{}\"",
                       xml_escaped(has_number ? port.name.substr(0, colon) : port.name),
                       next_net_++, has_number ? port.name.substr(colon + 1) : "1");
  }

  const Machine& machine_;
  const bool with_links_;
  std::vector<std::vector<NodeId>> children_;
  std::vector<bool> needed_;
  std::string out_;
  std::size_t elements_ = 0;
  unsigned next_net_ = 0;
};

}  // namespace

std::string nccl_text(const Machine& machine) {
  std::size_t elements = 0;
  for (const bool with_links : {true, false}) {
    Writer writer(machine, with_links);
    std::string text = writer.write();
    elements = writer.elements();
    if (elements <= nccl_max_elements) return text;
  }
  fail(ErrorKind::invalid_argument,
       "{}: its GPUs and NICs take {} elements of NCCL's XML, and NCCL reads at most {}",
       machine.origin, elements, nccl_max_elements);
}

}  // namespace accl::topology
