#include "topology/machine/hwloc_reader.h"

#include <hwloc.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "accl/base/error.h"
#include "topology/machine/builder.h"
#include "topology/machine/hwloc_text.h"

namespace accl::topology {
namespace {

using Topology = std::unique_ptr<hwloc_topology, decltype(&hwloc_topology_destroy)>;

Topology new_topology() {
  // hwloc reports what it dislikes on stderr; what matters reaches the user as an Error.
  ::setenv("HWLOC_HIDE_ERRORS", "2", 0);
  // They open displays and drivers, and tell nothing that PCI does not.
  ::setenv("HWLOC_PLUGINS_BLACKLIST", "hwloc_opencl,hwloc_gl", 0);
  hwloc_topology_t topology = nullptr;
  if (hwloc_topology_init(&topology) != 0) {
    fail_system("hwloc cannot start", errno);
  }
  Topology owner(topology, &hwloc_topology_destroy);
  hwloc_topology_set_io_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_IMPORTANT);
  return owner;
}

std::string info_of(hwloc_obj_t object, const char* key) {
  const char* value = hwloc_obj_get_info_by_name(object, key);
  return value == nullptr ? std::string{} : value;
}

PciFunction function_of(const hwloc_obj_attr_u::hwloc_pcidev_attr_s& pci) {
  PciFunction function;
  function.address = {pci.domain, pci.bus, pci.dev, pci.func};
  function.vendor = pci.vendor_id;
  function.device = pci.device_id;
  function.subsystem_vendor = pci.subvendor_id;
  function.subsystem_device = pci.subdevice_id;
  function.class_code = static_cast<std::uint32_t>(pci.class_id) << 8;
  if (pci.linkspeed > 0) function.bytes_per_second = static_cast<double>(pci.linkspeed) * 1e9;
  guess_link(function);
  return function;
}

// "00000000,0000ffff": words of 32 bits, the highest first, as the kernel writes it.
std::string affinity_of(hwloc_const_bitmap_t set) {
  const int last = hwloc_bitmap_last(set);
  if (last < 0 || last > 1 << 16) return {};
  std::string text;
  for (int word = last / 32; word >= 0; --word) {
    unsigned bits = 0;
    for (int bit = 0; bit < 32; ++bit) {
      if (hwloc_bitmap_isset(set, static_cast<unsigned>(word * 32 + bit)) != 0) bits |= 1u << bit;
    }
    text += fmt::format("{}{:08x}", text.empty() ? "" : ",", bits);
  }
  return text;
}

// Verbs devices have a state for each port; a device of several ports names them "mlx4_0:1".
std::vector<Port> ports_of(hwloc_obj_t device) {
  std::vector<Port> ports;
  const bool has_two = !info_of(device, "Port2State").empty();
  for (const char* key : {"Port1State", "Port2State"}) {
    const std::string state = info_of(device, key);
    if (state.empty() && !ports.empty()) continue;
    Port port;
    port.name = device->name == nullptr ? "" : device->name;
    if (has_two) port.name += fmt::format(":{}", ports.size() + 1);
    port.guid = info_of(device, "NodeGUID");
    port.is_down = state == "1";
    ports.push_back(std::move(port));
  }
  return ports;
}

Evidence evidence_of(hwloc_obj_t device) {
  Evidence evidence;
  evidence.is_nvswitch =
      device->subtype != nullptr && std::strcmp(device->subtype, "NVSwitch") == 0;
  for (hwloc_obj_t child = device->io_first_child; child != nullptr; child = child->next_sibling) {
    if (child->type != HWLOC_OBJ_OS_DEVICE || child->name == nullptr) continue;
    const hwloc_obj_osdev_type_t type = child->attr->osdev.type;
    if (type == HWLOC_OBJ_OSDEV_OPENFABRICS) {
      const std::vector<Port> ports = ports_of(child);
      evidence.rdma_ports.insert(evidence.rdma_ports.end(), ports.begin(), ports.end());
    }
    if (type == HWLOC_OBJ_OSDEV_NETWORK) evidence.network_name = child->name;
  }
  return evidence;
}

// The I/O part of a topology, told to a builder.
class Walker {
 public:
  Walker(hwloc_topology_t topology, MachineBuilder& builder, std::string name)
      : topology_(topology), builder_(builder), name_(std::move(name)) {}

  void walk(hwloc_obj_t object) {
    for (hwloc_obj_t child = object->io_first_child; child != nullptr;
         child = child->next_sibling) {
      io(child, locality_of(object), BridgeRole::root_port, processor_of(object));
    }
    for (hwloc_obj_t child = object->first_child; child != nullptr; child = child->next_sibling) {
      walk(child);
    }
  }

  void read_tables() {
    // Per lane: 25 GB/s since NVLink 2, 20 before. xGMI tables tell neighbours from strangers only.
    read_table("NVLinkBandwidth", {25'000, 20'000});
    read_table("XGMIBandwidth", {});
  }

  bool has_bridges() const { return has_bridges_; }

 private:
  // The NUMA node that holds every processor of `object`; the host where there is no single one.
  NodeId locality_of(hwloc_obj_t object) {
    hwloc_obj_t numa = nullptr;
    while ((numa = hwloc_get_next_obj_by_type(topology_, HWLOC_OBJ_NUMANODE, numa)) != nullptr) {
      const bool is_inside = hwloc_bitmap_isincluded(object->cpuset, numa->cpuset) != 0;
      if (!is_inside || hwloc_bitmap_iszero(object->cpuset) != 0) continue;
      return builder_.numa(static_cast<int>(numa->os_index), processor_attributes(numa));
    }
    return builder_.host();
  }

  static hwloc_obj_t package_of(hwloc_obj_t object) {
    while (object != nullptr && object->type != HWLOC_OBJ_PACKAGE) object = object->parent;
    return object;
  }

  static int processor_of(hwloc_obj_t object) {
    hwloc_obj_t package = package_of(object);
    return package == nullptr ? -1 : static_cast<int>(package->logical_index);
  }

  XmlAttributes processor_attributes(hwloc_obj_t numa) const {
    XmlAttributes attributes;
    const auto add = [&](const char* key, const std::string& value) {
      if (!value.empty()) attributes.emplace_back(key, value);
    };
    add("affinity", affinity_of(numa->cpuset));
    add("arch", info_of(hwloc_get_root_obj(topology_), "Architecture"));
    hwloc_obj_t package = hwloc_get_next_obj_covering_cpuset_by_type(topology_, numa->cpuset,
                                                                     HWLOC_OBJ_PACKAGE, nullptr);
    if (package == nullptr) return attributes;
    add("vendor", info_of(package, "CPUVendor"));
    add("familyid", info_of(package, "CPUFamilyNumber"));
    add("modelid", info_of(package, "CPUModelNumber"));
    return attributes;
  }

  void io(hwloc_obj_t object, NodeId parent, BridgeRole role, int processor) {
    if (object->type == HWLOC_OBJ_PCI_DEVICE) {
      builder_.function(parent, processor, function_of(object->attr->pcidev), evidence_of(object),
                        name_);
      return;
    }
    if (object->type != HWLOC_OBJ_BRIDGE) return;
    const auto& bridge = object->attr->bridge;
    NodeId node{};
    BridgeRole below = BridgeRole::root_port;
    if (bridge.upstream_type == HWLOC_OBJ_BRIDGE_HOST) {
      const auto& buses = bridge.downstream.pci;
      node = builder_.host_bridge(parent,
                                  fmt::format("{:04x}:{:02x}", buses.domain, buses.secondary_bus));
    } else {
      has_bridges_ = true;
      node = builder_.bridge(parent, role, function_of(bridge.upstream.pci), name_);
      below = role == BridgeRole::upstream ? BridgeRole::downstream : BridgeRole::upstream;
    }
    for (hwloc_obj_t child = object->io_first_child; child != nullptr;
         child = child->next_sibling) {
      io(child, node, below, processor);
    }
  }

  void read_table(const char* table, std::initializer_list<std::uint64_t> megabytes_of_lane) {
    hwloc_distances_s* distances = nullptr;
    unsigned found = 1;
    if (hwloc_distances_get_by_name(topology_, table, &found, &distances, 0) != 0 || found == 0) {
      return;
    }
    for (unsigned i = 0; i < distances->nbobjs * distances->nbobjs; ++i) {
      const hwloc_obj_t from = pci_of(distances->objs[i / distances->nbobjs]);
      const hwloc_obj_t to = pci_of(distances->objs[i % distances->nbobjs]);
      if (from == nullptr || to == nullptr || from == to) continue;
      link(function_of(from->attr->pcidev).address, function_of(to->attr->pcidev).address,
           distances->values[i], megabytes_of_lane);
    }
    hwloc_distances_release(topology_, distances);
  }

  void link(PciAddress from, PciAddress to, std::uint64_t megabytes,
            std::initializer_list<std::uint64_t> megabytes_of_lane) {
    if (megabytes == 0) return;
    for (const std::uint64_t lane : megabytes_of_lane) {
      if (megabytes % lane != 0 || megabytes / lane > 1024) continue;
      builder_.bundle(from, to, static_cast<unsigned>(megabytes / lane),
                      static_cast<double>(lane) * 1e6);
      return;
    }
    builder_.bundle(from, to, 1, static_cast<double>(megabytes) * 1e6);
  }

  static hwloc_obj_t pci_of(hwloc_obj_t object) {
    while (object != nullptr && object->type != HWLOC_OBJ_PCI_DEVICE) object = object->parent;
    return object;
  }

  hwloc_topology_t topology_;
  MachineBuilder& builder_;
  const std::string name_;
  bool has_bridges_ = false;
};

Machine machine_of(hwloc_topology_t topology, Source source, const std::string& name) {
  MachineBuilder builder(source, name);
  hwloc_obj_t root = hwloc_get_root_obj(topology);
  Walker walker(topology, builder, name);
  walker.walk(root);
  walker.read_tables();
  const std::string host = info_of(root, "HostName");
  if (source == Source::live) {
    builder.certainty("What the kernel shows in /sys now.");
  } else if (!walker.has_bridges()) {
    builder.certainty(
        "Saved without PCIe bridges: devices that share a switch cannot be told "
        "from those that do not.");
  } else {
    builder.certainty(fmt::format("Saved on {}; complete as far as that machine showed itself.",
                                  host.empty() ? "a machine without name" : host));
  }
  return builder.finish();
}

}  // namespace

Machine read_hwloc_live() {
  const QuietXml quiet;  // HWLOC_XMLFILE makes hwloc read XML here too.
  const Topology topology = new_topology();
  if (hwloc_topology_load(topology.get()) != 0) {
    fail_system("hwloc cannot look at this machine", errno);
  }
  const std::string host = info_of(hwloc_get_root_obj(topology.get()), "HostName");
  return machine_of(topology.get(), Source::live, host.empty() ? "this machine" : host);
}

Machine read_hwloc_text(std::string_view text, const std::string& name) {
  const std::string safe = safe_hwloc_text(text, name);
  const QuietXml quiet;
  const Topology topology = new_topology();
  // Its length counts the terminating zero.
  if (hwloc_topology_set_xmlbuffer(topology.get(), safe.c_str(),
                                   static_cast<int>(safe.size() + 1)) != 0 ||
      hwloc_topology_load(topology.get()) != 0) {
    fail(ErrorKind::invalid_argument, "{}: hwloc cannot make a machine of it", name);
  }
  return machine_of(topology.get(), Source::hwloc_file, name);
}

}  // namespace accl::topology
