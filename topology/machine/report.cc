#include "topology/machine/report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "topology/machine/pairing.h"
#include "topology/machine/path.h"
#include "topology/machine/warnings.h"

namespace accl::topology {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* legend = R"(Legend:
  X    = itself
  SYS  = crosses PCIe and the interconnect between NUMA nodes
  NODE = crosses PCIe and the interconnect between host bridges of one NUMA node
  PHB  = crosses PCIe and a host bridge (the CPU)
  PXB  = crosses several PCIe switches, but no host bridge
  PIX  = crosses at most one PCIe switch
  NV#  = crosses # NVLinks or xGMI links side by side
)";

struct Row {
  std::string label;
  NodeId node;
  int numa;
};

std::vector<Row> rows_of(const Machine& machine) {
  std::vector<Row> rows;
  for (std::size_t i = 0; i < machine.gpus.size(); ++i) {
    rows.push_back({fmt::format("GPU{}", i), machine.gpus[i].node, machine.gpus[i].numa});
  }
  for (std::size_t i = 0; i < machine.nics.size(); ++i) {
    rows.push_back({fmt::format("NIC{}", i), machine.nics[i].node, machine.nics[i].numa});
  }
  return rows;
}

std::string numa_text(int numa) { return numa < 0 ? "N/A" : fmt::format("{}", numa); }

std::string matrix(const Machine& machine) {
  const std::vector<Row> rows = rows_of(machine);
  std::string text = fmt::format("{:6}", "");
  for (const Row& row : rows) text += fmt::format("{:6}", row.label);
  text += "NUMA\n";
  for (const Row& row : rows) {
    text += fmt::format("{:6}", row.label);
    for (const Row& column : rows) {
      text += fmt::format("{:6}", to_string(path_between(machine, row.node, column.node)));
    }
    text += numa_text(row.numa) + "\n";
  }
  return text;
}

std::string ports_text(const Nic& nic) {
  if (nic.ports.size() < 2) return {};
  std::string text = "  ports";
  for (const Port& port : nic.ports) {
    text += fmt::format(" {}{}", port.name, port.is_down ? " (down)" : "");
  }
  return text;
}

std::string devices(const Machine& machine) {
  std::string text;
  for (std::size_t i = 0; i < machine.gpus.size(); ++i) {
    const PciFunction& pci = machine.gpus[i].pci;
    text += fmt::format("  GPU{}: {}", i, to_string(pci.address));
    if (pci.vendor != 0) {
      text += fmt::format("  {}{}[{:04x}:{:04x}]", vendor_name(pci.vendor),
                          vendor_name(pci.vendor).empty() ? "" : " ", pci.vendor, pci.device);
    }
    text += '\n';
  }
  for (std::size_t i = 0; i < machine.nics.size(); ++i) {
    const Nic& nic = machine.nics[i];
    text += fmt::format("  NIC{}: {}  {}{}\n", i, to_string(nic.pci.address), nic.name,
                        ports_text(nic));
  }
  return text;
}

std::string pairs_text(const Machine& machine, const std::vector<Pair>& pairs) {
  std::string text;
  for (const Pair& pair : pairs) {
    const Nic& nic = machine.nic(pair.nic);
    text += fmt::format("  GPU{} {} -> {} {} ({})\n", index(pair.gpu),
                        to_string(machine.gpu(pair.gpu).pci.address), nic.ports[pair.port].name,
                        to_string(nic.ports[pair.port].address), to_string(Path{pair.path, 0}));
  }
  return text.empty() ? "  none\n" : text;
}

Json gpu_json(const Gpu& gpu) {
  return {{"bus_id", to_string(gpu.pci.address)},
          {"vendor", fmt::format("{:04x}", gpu.pci.vendor)},
          {"device", fmt::format("{:04x}", gpu.pci.device)},
          {"numa", gpu.numa}};
}

Json nic_json(const Nic& nic) {
  Json ports = Json::array();
  for (const Port& port : nic.ports) {
    ports.push_back({{"name", port.name},
                     {"bus_id", to_string(port.address)},
                     {"guid", port.guid},
                     {"down", port.is_down}});
  }
  return {{"name", nic.name},
          {"bus_id", to_string(nic.pci.address)},
          {"vendor", fmt::format("{:04x}", nic.pci.vendor)},
          {"device", fmt::format("{:04x}", nic.pci.device)},
          {"numa", nic.numa},
          {"ports", ports}};
}

}  // namespace

std::string text_report(const Machine& machine) {
  const std::vector<Pair> pairs = pair_devices(machine);
  std::string text = fmt::format("Source: {} ({})\n  {}\n\n", name_of(machine.source),
                                 machine.origin, machine.certainty);
  if (!machine.gpus.empty() || !machine.nics.empty()) {
    text += matrix(machine) + "\n" + legend + "\nDevices:\n" + devices(machine);
    text += "\nPairs:\n" + pairs_text(machine, pairs) + "\n";
  }
  const std::vector<std::string> warnings = warnings_of(machine, pairs);
  text += warnings.empty() ? "No warnings.\n" : "Warnings:\n";
  for (const std::string& warning : warnings) text += fmt::format("  - {}\n", warning);
  return text;
}

std::string json_report(const Machine& machine) {
  const std::vector<Pair> pairs = pair_devices(machine);
  Json report;
  report["gpus"] = Json::array();
  report["nics"] = Json::array();
  report["pairs"] = Json::array();
  for (const Gpu& gpu : machine.gpus) report["gpus"].push_back(gpu_json(gpu));
  for (const Nic& nic : machine.nics) report["nics"].push_back(nic_json(nic));
  for (const Pair& pair : pairs) {
    const Nic& nic = machine.nic(pair.nic);
    report["pairs"].push_back({{"gpu", to_string(machine.gpu(pair.gpu).pci.address)},
                               {"nic", nic.name},
                               {"path", to_string(Path{pair.path, 0})},
                               {"port", nic.ports[pair.port].name}});
  }
  report["warnings"] = warnings_of(machine, pairs);
  report["source"] = {{"kind", name_of(machine.source)},
                      {"name", machine.origin},
                      {"certainty", machine.certainty}};
  // Names come from files: what is not UTF-8 in them must not throw here.
  return report.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace accl::topology
