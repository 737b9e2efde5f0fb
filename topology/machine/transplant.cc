#include "topology/machine/transplant.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <set>

#include "accl/base/error.h"
#include "topology/machine/nccl_writer.h"

namespace accl::topology {
namespace {

// For each device of the bare machine, its counterpart in the virtual one.
using Match = std::vector<std::size_t>;

// NCCL writes GUIDs as "0xf01c..." in the byte order of the card, hwloc as "0838:...": one of both
// byte orders, the smaller, stands for the GUID.
std::optional<std::uint64_t> guid_of(const Port& port) {
  std::string digits = port.guid;
  std::erase(digits, ':');
  if (!digits.starts_with("0x")) digits = "0x" + digits;
  const auto value = parse_number(digits);
  if (!value || *value == 0) return std::nullopt;
  return std::min(*value, __builtin_bswap64(*value));
}

std::set<std::uint64_t> guids_of(const Nic& nic) {
  std::set<std::uint64_t> guids;
  for (const Port& port : nic.ports) {
    if (const auto guid = guid_of(port)) guids.insert(*guid);
  }
  return guids;
}

bool intersects(const std::set<std::uint64_t>& a, const std::set<std::uint64_t>& b) {
  return std::any_of(a.begin(), a.end(), [&](std::uint64_t guid) { return b.contains(guid); });
}

// A virtual function has another device id than the card, and the same subsystem, or the card's
// device id as its subsystem.
bool is_same_model(const PciFunction& bare, const PciFunction& vm) {
  if (bare.vendor != 0 && vm.vendor != 0 && bare.vendor != vm.vendor) return false;
  if (class_of(bare) != class_of(vm)) return false;
  if (bare.device == 0 || vm.device == 0 || bare.device == vm.device) return true;
  const bool same_subsystem = bare.subsystem_device != 0 &&
                              bare.subsystem_vendor == vm.subsystem_vendor &&
                              bare.subsystem_device == vm.subsystem_device;
  return same_subsystem || vm.subsystem_device == bare.device;
}

// How many devices each NUMA node has; the nodes in ascending order.
template <class Device>
std::map<int, std::vector<std::size_t>> by_numa(const std::vector<Device>& devices) {
  std::map<int, std::vector<std::size_t>> groups;
  for (std::size_t i = 0; i < devices.size(); ++i) groups[devices[i].numa].push_back(i);
  return groups;
}

class Surgeon {
 public:
  Surgeon(const Machine& bare, const Machine& vm) : bare_(bare), vm_(vm), result_(bare) {}

  Transplant run() {
    require_same_count("GPUs", bare_.gpus.size(), vm_.gpus.size());
    require_same_count("NICs", bare_.nics.size(), vm_.nics.size());
    if (bare_.gpus.empty() && bare_.nics.empty()) reject("there is neither a GPU nor a NIC in it");
    gpus_ = match_by_order(bare_.gpus, vm_.gpus, "GPU");
    const auto by_guid = match_by_guid();
    nics_ = by_guid ? *by_guid : match_by_order(bare_.nics, vm_.nics, "NIC");
    check_links();
    report("GPU", bare_.gpus, vm_.gpus, gpus_, "order of bus ids");
    report("NIC", bare_.nics, vm_.nics, nics_, by_guid ? "GUID" : "order of bus ids");
    if (!by_guid || !gpus_.empty()) {
      say("Order is an assumption: measure each GPU with its NIC before relying on it.");
    }
    replace_devices();
    replace_bridges();
    replace_links();
    replace_processors();
    return {nccl_text(result_), sentences_};
  }

 private:
  [[noreturn]] void reject(const std::string& what) const {
    fail(ErrorKind::invalid_argument, "{} cannot be put onto {}: {}", bare_.origin, vm_.origin,
         what);
  }

  void say(std::string sentence) { sentences_.push_back(std::move(sentence)); }

  void require_same_count(const char* what, std::size_t bare, std::size_t vm) const {
    if (bare != vm) reject(fmt::format("it has {} {}, the virtual machine {}", bare, what, vm));
  }

  template <class Device>
  void require_same_model(const Device& bare, const Device& vm, const char* what) const {
    if (is_same_model(bare.pci, vm.pci)) return;
    reject(fmt::format(
        "{0} {1} is [{2:04x}:{3:04x}] of class {4:04x}, and {5} in its place [{6:04x}:{7:04x}] of "
        "class {8:04x}",
        what, to_string(bare.pci.address), bare.pci.vendor, bare.pci.device, class_of(bare.pci),
        to_string(vm.pci.address), vm.pci.vendor, vm.pci.device, class_of(vm.pci)));
  }

  // Within NUMA nodes, if both machines spread the devices over theirs alike.
  template <class Device>
  Match match_by_order(const std::vector<Device>& bare, const std::vector<Device>& vm,
                       const char* what) {
    const auto bare_groups = by_numa(bare);
    const auto vm_groups = by_numa(vm);
    const bool is_alike =
        std::equal(bare_groups.begin(), bare_groups.end(), vm_groups.begin(), vm_groups.end(),
                   [](const auto& a, const auto& b) { return a.second.size() == b.second.size(); });
    Match match(bare.size());
    std::iota(match.begin(), match.end(), std::size_t{0});
    auto vm_group = vm_groups.begin();
    for (auto group = bare_groups.begin(); is_alike && group != bare_groups.end(); ++group) {
      for (std::size_t k = 0; k < group->second.size(); ++k) {
        match[group->second[k]] = vm_group->second[k];
      }
      ++vm_group;
    }
    if (!is_alike && vm_groups.size() > 1) {
      reject(fmt::format("its {}s are spread over NUMA nodes otherwise than the virtual machine's",
                         what));
    }
    for (std::size_t i = 0; i < bare.size(); ++i) {
      require_same_model(bare[i], vm[match[i]], what);
    }
    return match;
  }

  // Nothing where no GUID of one machine is known in the other: another host of the same build.
  std::optional<Match> match_by_guid() const {
    Match match;
    for (const Nic& bare : bare_.nics) {
      const auto found = std::find_if(vm_.nics.begin(), vm_.nics.end(), [&](const Nic& nic) {
        return intersects(guids_of(bare), guids_of(nic));
      });
      if (found == vm_.nics.end()) continue;
      match.push_back(static_cast<std::size_t>(found - vm_.nics.begin()));
    }
    if (match.empty()) return std::nullopt;
    const std::set<std::size_t> distinct(match.begin(), match.end());
    if (distinct.size() != bare_.nics.size() || match.size() != bare_.nics.size()) {
      reject("some NICs have the same GUIDs in both and others have not");
    }
    return match;
  }

  static unsigned lanes(const Machine& machine, NodeId a, NodeId b) {
    for (const Bundle& bundle : machine.bundles) {
      if ((bundle.a == a && bundle.b == b) || (bundle.a == b && bundle.b == a)) return bundle.lanes;
    }
    return 0;
  }

  // Links between GPUs are part of the hardware: under the right match both show the same ones.
  void check_links() const {
    if (bare_.bundles.empty() || vm_.bundles.empty()) return;
    for (std::size_t i = 0; i < gpus_.size(); ++i) {
      for (std::size_t j = i + 1; j < gpus_.size(); ++j) {
        const unsigned in_bare = lanes(bare_, bare_.gpus[i].node, bare_.gpus[j].node);
        const Gpu& a = vm_.gpus[gpus_[i]];
        const Gpu& b = vm_.gpus[gpus_[j]];
        const unsigned in_vm = lanes(vm_, a.node, b.node);
        if (in_bare == in_vm) continue;
        reject(
            fmt::format("in order of bus ids, GPUs {} and {} of the virtual machine have {} "
                        "links to each other where the bare machine has {}",
                        to_string(a.pci.address), to_string(b.pci.address), in_vm, in_bare));
      }
    }
  }

  template <class Device>
  void report(const char* what, const std::vector<Device>& bare, const std::vector<Device>& vm,
              const Match& match, const char* reason) {
    for (std::size_t i = 0; i < match.size(); ++i) {
      say(fmt::format("{} {} is {} of the bare machine, by {}.", what,
                      to_string(vm[match[i]].pci.address), to_string(bare[i].pci.address), reason));
    }
  }

  // The link of the bare machine is the real one.
  static void replace_function(PciFunction& place, const PciFunction& vm) {
    const PciFunction bare = place;
    place = vm;
    if (bare.link_width == 0) return;
    place.link_speed = bare.link_speed;
    place.link_width = bare.link_width;
    place.bytes_per_second = bare.bytes_per_second;
  }

  void replace_devices() {
    for (std::size_t i = 0; i < gpus_.size(); ++i) {
      replace_function(result_.gpus[i].pci, vm_.gpus[gpus_[i]].pci);
      result_.gpus[i].nccl = vm_.gpus[gpus_[i]].nccl;
    }
    for (std::size_t i = 0; i < nics_.size(); ++i) {
      const Nic& vm = vm_.nics[nics_[i]];
      replace_function(result_.nics[i].pci, vm.pci);
      result_.nics[i].name = vm.name;
      result_.nics[i].ports = vm.ports;
    }
  }

  // The virtual machine has no such bridges; these bus ids are nobody's.
  void replace_bridges() {
    std::uint8_t device = 1;
    std::uint8_t function = 0;
    for (Bridge& bridge : result_.bridges) {
      bridge.pci.address = {0xffff, 0xff, device, function};
      if (++device < 32) continue;
      device = 0;
      ++function;
      if (function > 7) reject("it has more PCIe switches than NCCL can name");
    }
  }

  // What the virtual machine shows of GPU links is true; where it shows none, the bare machine's.
  void replace_links() {
    std::erase_if(result_.bundles, [&](const Bundle& bundle) {
      return !vm_.bundles.empty() || result_.graph.node(bundle.a).kind != NodeKind::gpu ||
             result_.graph.node(bundle.b).kind != NodeKind::gpu;
    });
    result_.nvswitches.clear();
    std::map<NodeId, NodeId> places;
    for (std::size_t i = 0; i < gpus_.size(); ++i) {
      places[vm_.gpus[gpus_[i]].node] = bare_.gpus[i].node;
    }
    for (const NvSwitch& nvswitch : vm_.nvswitches) {
      const NodeId node = result_.graph.add(
          NodeKind::nvswitch, "of the virtual machine: " + to_string(nvswitch.pci.address),
          result_.host);
      places[nvswitch.node] = node;
      result_.nvswitches.push_back({node, nvswitch.pci});
    }
    for (const Bundle& bundle : vm_.bundles) {
      result_.bundles.push_back({places.at(bundle.a), places.at(bundle.b), bundle.lanes});
    }
  }

  // NUMA nodes of the virtual machine that the devices of one bare NUMA node have.
  std::set<int> numas_below(const Numa& numa) const {
    std::set<int> found;
    for (std::size_t i = 0; i < gpus_.size(); ++i) {
      if (bare_.gpus[i].numa == numa.os_index) found.insert(vm_.gpus[gpus_[i]].numa);
    }
    for (std::size_t i = 0; i < nics_.size(); ++i) {
      if (bare_.nics[i].numa == numa.os_index) found.insert(vm_.nics[nics_[i]].numa);
    }
    return found;
  }

  void replace_processors() {
    std::set<int> taken;
    for (Numa& numa : result_.numas) {
      const std::set<int> below = numas_below(numa);
      if (below.empty()) continue;
      const int wanted = *below.begin();
      if (below.size() > 1) reject("its NUMA nodes are not the virtual machine's");
      const auto vm = std::find_if(vm_.numas.begin(), vm_.numas.end(),
                                   [&](const Numa& other) { return other.os_index == wanted; });
      if (vm != vm_.numas.end()) numa.processor = vm->processor;
      if (taken.insert(wanted).second) {
        numa.os_index = wanted;
        continue;
      }
      numa.os_index = unused_index(taken);
      taken.insert(numa.os_index);
      say(
          fmt::format("NUMA node {} of the result is the bare machine's: the virtual machine shows "
                      "one node for several.",
                      numa.os_index));
    }
  }

  static int unused_index(const std::set<int>& taken) {
    int candidate = 0;
    while (taken.contains(candidate)) ++candidate;
    return candidate;
  }

  const Machine& bare_;
  const Machine& vm_;
  Machine result_;
  Match gpus_;
  Match nics_;
  std::vector<std::string> sentences_;
};

}  // namespace

Transplant transplant(const Machine& bare, const Machine& vm) { return Surgeon(bare, vm).run(); }

}  // namespace accl::topology
