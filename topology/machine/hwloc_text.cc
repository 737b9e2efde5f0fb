#include "topology/machine/hwloc_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <sstream>

#include "accl/base/error.h"
#include "topology/machine/cpu_set.h"
#include "topology/machine/pci.h"
#include "topology/machine/xml_tree.h"

namespace accl::topology {
namespace {

constexpr std::uint64_t max_os_index = 1 << 16;
constexpr std::size_t max_set_characters = 1 << 14;
constexpr std::uint64_t max_table_objects = 512;

// How an attribute's value must look.
enum class Form : std::uint8_t { word, number, index, address, range, pci_type, speed, bridge };

struct KnownAttribute {
  std::string_view name;
  Form form;
};

// Attributes that are none of these say nothing about pairing and are left out.
// Attributes that are none of these say nothing about pairing and are left out; the sets are
// written anew.
constexpr std::array<KnownAttribute, 13> known_attributes{{
    {"type", Form::word},
    {"os_index", Form::index},
    {"gp_index", Form::number},
    {"name", Form::word},
    {"subtype", Form::word},
    {"depth", Form::index},
    {"local_memory", Form::number},
    {"pci_busid", Form::address},
    {"pci_type", Form::pci_type},
    {"bridge_pci", Form::range},
    {"bridge_type", Form::bridge},
    {"osdev_type", Form::index},
    {"pci_link_speed", Form::speed},
}};

constexpr std::array<std::string_view, 10> kept_infos{
    "CPUVendor", "CPUFamilyNumber", "CPUModelNumber", "Architecture", "HostName",
    "NodeGUID",  "Port1State",      "Port2State",     "hwlocVersion", "Type"};

constexpr std::array<std::string_view, 12> kept_types{"System", "Machine", "Package",  "Socket",
                                                      "Die",    "Group",   "PU",       "Bridge",
                                                      "PCIDev", "OSDev",   "NUMANode", "Node"};
// What is inside them is kept.
constexpr std::array<std::string_view, 15> skipped_types{
    "Core",     "Cache",    "L1Cache",  "L2Cache",  "L3Cache",  "L4Cache",  "L5Cache", "L1iCache",
    "L2iCache", "L3iCache", "MemCache", "L1dCache", "L2dCache", "L3dCache", "Module"};

template <std::size_t N>
bool contains(const std::array<std::string_view, N>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

bool is_io(std::string_view type) {
  return type == "Bridge" || type == "PCIDev" || type == "OSDev";
}

bool is_numa(std::string_view type) { return type == "NUMANode" || type == "Node"; }

bool all_of(std::string_view text, std::string_view allowed) {
  return text.find_first_not_of(allowed) == std::string_view::npos;
}

bool is_hex(std::string_view text, std::size_t digits) {
  return text.size() == digits && all_of(text, "0123456789abcdefABCDEF");
}

// "0302 [10de:20b0] [10de:144e] a1"
bool is_pci_type(std::string_view text) {
  return text.size() == 31 && is_hex(text.substr(0, 4), 4) && text.substr(4, 2) == " [" &&
         is_hex(text.substr(6, 4), 4) && text[10] == ':' && is_hex(text.substr(11, 4), 4) &&
         text.substr(15, 3) == "] [" && is_hex(text.substr(18, 4), 4) && text[22] == ':' &&
         is_hex(text.substr(23, 4), 4) && text.substr(27, 2) == "] " &&
         is_hex(text.substr(29, 2), 2);
}

// "0000:[04-0a]"
bool is_range(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon < 4 || colon > 8) return false;
  const std::string_view buses = text.substr(colon + 1);
  return is_hex(text.substr(0, colon), colon) && buses.size() == 7 && buses[0] == '[' &&
         is_hex(buses.substr(1, 2), 2) && buses[3] == '-' && is_hex(buses.substr(4, 2), 2) &&
         buses[6] == ']';
}

bool has_form(std::string_view value, Form form) {
  switch (form) {
    case Form::word:
      return value.size() < 256;
    case Form::number:
      return parse_number(value).has_value();
    case Form::index:
      return parse_number(value).value_or(max_os_index) < max_os_index;
    case Form::address:
      return parse_pci_address(value).has_value();
    case Form::range:
      return is_range(value);
    case Form::pci_type:
      return is_pci_type(value);
    case Form::speed:
      return value.size() < 32 && all_of(value, "0123456789.");
    case Form::bridge:
      return value == "0-1" || value == "1-1";
  }
  return false;
}

class Cleaner {
 public:
  explicit Cleaner(const std::string& name) : name_(name) {}

  std::string clean(const XmlElement& top) {
    const std::string_view version = check_version(top);
    out_ = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
    out_ += version.starts_with("2") ? "<!DOCTYPE topology SYSTEM \"hwloc2.dtd\">\n"
                                     : "<!DOCTYPE topology SYSTEM \"hwloc.dtd\">\n";
    out_ += version.empty() ? "<topology>\n" : "<topology version=\"2.0\">\n";
    if (version.starts_with("1")) out_.replace(out_.size() - 6, 3, "1.0");
    is_version_1_ = !version.starts_with("2");
    bool has_machine = false;
    for (const XmlElement& child : top.children) {
      if (child.name == "object") {
        if (has_machine) reject(child, "there is a second machine");
        has_machine = true;
        check_top(child);
        object(child, nullptr);
      }
      if (child.name == "distances2" || child.name == "distances2hetero") table(child);
    }
    if (!has_machine) reject(top, "there is no machine in it");
    return out_ + "</topology>\n";
  }

 private:
  [[noreturn]] void reject(const XmlElement& at, const std::string& what) const {
    fail(ErrorKind::invalid_argument, "{}:{}: {}", name_, at.line, what);
  }

  std::string_view check_version(const XmlElement& top) const {
    if (top.name == "system") {
      reject(top, "this is a topology of NCCL, not of hwloc; read it with --nccl");
    }
    if (top.name != "topology") {
      reject(top, "this is no XML of hwloc (it begins with <" + top.name + ">)");
    }
    const std::string_view version = top.get("version");
    if (version.starts_with("3")) {
      reject(top,
             "hwloc 3 wrote this; export it again where it was made with "
             "`lstopo --of xml --export-xml-flags 2 FILE`, which writes version 2");
    }
    if (!version.empty() && !version.starts_with("1") && !version.starts_with("2")) {
      reject(top, fmt::format("version {} of hwloc's XML is unknown", version));
    }
    return version;
  }

  void check_top(const XmlElement& machine) const {
    const std::string_view type = machine.get("type");
    if (type != "Machine" && type != "System") {
      reject(machine, "the outermost object is no machine");
    }
  }

  // The object whose children are being read.
  struct Container {
    std::string_view type;
    CpuSet cpus;
    CpuSet nodes;
    CpuSet cpus_of_children;
  };

  void object(const XmlElement& element, Container* parent) {
    const std::string_view type = element.get("type");
    if (type == "Misc") return;
    if (contains(skipped_types, type) && parent != nullptr && !is_io(parent->type)) {
      children(element, *parent);
      return;
    }
    if (!contains(kept_types, type)) {
      reject(element, fmt::format("hwloc has no objects of type \"{}\" here", type));
    }
    Container own{type, {}, {}, {}};
    out_ += "<object";
    attributes_of(element, type);
    if (is_io(type)) {
      check_io(element, type, parent == nullptr ? "" : parent->type);
    } else {
      sets(element, parent, own);
    }
    out_ += ">\n";
    children(element, own);
    out_ += "</object>\n";
  }

  void children(const XmlElement& element, Container& own) {
    for (const XmlElement& child : element.children) {
      if (child.name == "object") object(child, &own);
      if (child.name != "info" || !contains(kept_infos, child.get("name"))) continue;
      out_ += fmt::format("<info name=\"{}\" value=\"{}\"/>\n", child.get("name"),
                          xml_escaped(child.get("value").substr(0, 200)));
    }
  }

  // What hwloc takes for granted about I/O.
  void check_io(const XmlElement& element, std::string_view type, std::string_view parent) const {
    if (parent == "OSDev" && type != "OSDev") reject(element, "a device is inside an OSDev");
    if (parent == "PCIDev" && type != "OSDev") reject(element, "a device is inside a PCIDev");
    const bool is_upstream_pci = element.get("bridge_type") == "1-1";
    if ((type == "PCIDev" || is_upstream_pci) &&
        !(element.has("pci_busid") && element.has("pci_type"))) {
      reject(element, "a PCI device has no bus id or no type");
    }
    if (type == "Bridge" && !(element.has("bridge_type") && element.has("bridge_pci"))) {
      reject(element, "a Bridge has no type or no buses");
    }
    if (type == "OSDev" && parse_number(element.get("osdev_type")).value_or(99) > 6) {
      reject(element, "an OSDev has no known type");
    }
  }

  void take_set(const XmlElement& element, std::string_view key, CpuSet& set) const {
    const std::string text(element.get(key));
    if (text.size() <= max_set_characters && set.parse(text)) return;
    reject(element, fmt::format("a {} has {}=\"{:.60}\"", element.get("type"), key, text));
  }

  // Processors and NUMA nodes: inside the parent's, and no processor in two places.
  void sets(const XmlElement& element, Container* parent, Container& own) {
    const std::string_view type = own.type;
    if (parent != nullptr && (is_io(parent->type) || parent->type == "PU")) {
      reject(element, fmt::format("a {} is inside a {}", type, parent->type));
    }
    take_set(element, "cpuset", own.cpus);
    const bool has_nodes = !is_version_1_ || element.has("nodeset");
    if (has_nodes) take_set(element, "nodeset", own.nodes);
    const unsigned index =
        static_cast<unsigned>(parse_number(element.get("os_index")).value_or(max_os_index));
    if (type == "PU" && !own.cpus.is_only(index)) reject(element, "a PU is not its own cpuset");
    if (is_numa(type) && has_nodes && !own.nodes.is_only(index)) {
      reject(element, "a NUMA node is not its own nodeset");
    }
    if (parent != nullptr) place(element, *parent, own);
    if (parent == nullptr && own.cpus.is_empty()) reject(element, "the machine has no processors");
    const std::string_view cpus = element.get("cpuset");
    out_ += fmt::format(" cpuset=\"{0}\" complete_cpuset=\"{0}\"", cpus);
    if (parent == nullptr) out_ += fmt::format(" allowed_cpuset=\"{}\"", cpus);
    if (!has_nodes) return;
    const std::string_view nodes = element.get("nodeset");
    out_ += fmt::format(" nodeset=\"{0}\" complete_nodeset=\"{0}\"", nodes);
    if (parent == nullptr) out_ += fmt::format(" allowed_nodeset=\"{}\"", nodes);
  }

  void place(const XmlElement& element, Container& parent, const Container& own) {
    if (own.type == "Machine" || own.type == "System") {
      if (parent.type != "System") reject(element, "a machine is inside another object");
    }
    if (!own.cpus.is_inside(parent.cpus) || !own.nodes.is_inside(parent.nodes)) {
      reject(element, fmt::format("a {} has processors or NUMA nodes that the {} around it has not",
                                  own.type, parent.type));
    }
    if (is_numa(own.type)) {
      const bool is_known = own.nodes.meets(numa_nodes_);
      if (is_known) reject(element, "there is a second NUMA node of that index");
      numa_nodes_.add(own.nodes);
      if (!is_version_1_) return;  // Version 2 hangs memory beside the processors.
    }
    if (own.cpus.meets(parent.cpus_of_children)) {
      reject(element, fmt::format("a {} shares processors with its neighbour", own.type));
    }
    parent.cpus_of_children.add(own.cpus);
  }

  void attributes_of(const XmlElement& element, std::string_view type) {
    for (const auto& attribute : element.attributes) {
      const std::string& key = attribute.first;
      const std::string& value = attribute.second;
      const auto known =
          std::find_if(known_attributes.begin(), known_attributes.end(),
                       [&](const KnownAttribute& candidate) { return candidate.name == key; });
      if (known == known_attributes.end()) continue;
      if (key == "os_index" && is_io(type)) continue;  // Version 1 packs the bus id into it.
      if (!has_form(value, known->form)) {
        reject(element, fmt::format("a {} has {}=\"{:.60}\"", type, key, value));
      }
      out_ += fmt::format(" {}=\"{}\"", key, xml_escaped(value));
    }
  }

  // Only the tables of GPU links: hwloc reads the others for schedulers.
  void table(const XmlElement& element) {
    const std::string_view name = element.get("name");
    if (name != "NVLinkBandwidth" && name != "XGMIBandwidth") return;
    const auto objects = parse_number(element.get("nbobjs"));
    const auto kind = parse_number(element.get("kind"));
    if (!objects || *objects < 2 || *objects > max_table_objects || !kind || *kind > 0xffff) {
      reject(element, fmt::format("the {} table has no sensible size or kind", name));
    }
    out_ += fmt::format("<{}", element.name);
    for (const std::string_view key : {"type", "nbobjs", "kind", "name", "indexing"}) {
      if (!element.has(key)) continue;
      out_ += fmt::format(" {}=\"{}\"", key, xml_escaped(element.get(key)));
    }
    out_ += ">\n";
    check_count(element, "indexes", *objects);
    check_count(element, "u64values", *objects * *objects);
    for (const XmlElement& child : element.children) {
      if (child.name != "indexes" && child.name != "u64values") continue;
      const bool is_good = all_of(
          child.text, child.name == "indexes"
                          ? "0123456789: ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                          : "0123456789 ");
      if (!is_good) reject(child, fmt::format("the {} table holds what is no number", name));
      out_ +=
          fmt::format("<{0} length=\"{1}\">{2}</{0}>\n", child.name, child.text.size(), child.text);
    }
    out_ += fmt::format("</{}>\n", element.name);
  }

  // hwloc believes the announced number.
  void check_count(const XmlElement& table, std::string_view key, std::uint64_t wanted) const {
    std::uint64_t count = 0;
    for (const XmlElement& child : table.children) {
      if (child.name != key) continue;
      std::istringstream words(child.text);
      for (std::string word; words >> word;) ++count;
    }
    if (count == wanted) return;
    reject(table, fmt::format("the {} table has {} {} instead of {}", table.get("name"), count, key,
                              wanted));
  }

  const std::string& name_;
  bool is_version_1_ = false;
  CpuSet numa_nodes_;
  std::string out_;
};

}  // namespace

std::string safe_hwloc_text(std::string_view text, const std::string& name) {
  return Cleaner(name).clean(parse_xml(text, name));
}

}  // namespace accl::topology
