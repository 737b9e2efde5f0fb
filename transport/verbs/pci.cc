#include "transport/verbs/pci.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>
#include <vector>

namespace accl::verbs {
namespace {

// Host bridge, bridges, device.
std::vector<std::string> chain_of(const std::string& folder) {
  std::vector<std::string> chain;
  for (const auto& part : std::filesystem::path(folder)) {
    const std::string name = part.string();
    const bool is_host_bridge = name.starts_with("pci") && name.find(':') != std::string::npos;
    if (is_host_bridge || !chain.empty()) chain.push_back(name);
  }
  return chain;
}

// -1 where the machine has only one.
int numa_node_of(const std::string& folder) {
  std::ifstream file(folder + "/numa_node");
  int node = -1;
  file >> node;
  return node;
}

}  // namespace

const char* to_string(PciDistance distance) {
  constexpr const char* names[] = {"LOC", "PIX", "PXB", "PHB", "SYS"};
  return names[static_cast<std::size_t>(distance)];
}

std::string pci_folder(const std::string& sysfs, const std::string& link) {
  std::error_code error;
  const std::string folder = std::filesystem::canonical(sysfs + "/" + link, error).string();
  return error || chain_of(folder).empty() ? std::string() : folder;
}

PciDistance pci_distance(const std::string& one, const std::string& other) {
  const std::vector<std::string> a = chain_of(one), b = chain_of(other);
  if (a.empty() || b.empty()) return PciDistance::sys;
  if (a == b) return PciDistance::loc;
  const auto [end_a, end_b] = std::ranges::mismatch(a, b);
  const auto shared = std::distance(a.begin(), end_a);
  if (shared == 0 && numa_node_of(one) != numa_node_of(other)) return PciDistance::sys;
  if (shared <= 1) return PciDistance::phb;
  // Below where they meet, a whole switch is two bridges. An odd one is the downward side of the
  // switch whose upward side is where they meet.
  const auto below_a = static_cast<std::size_t>(std::distance(end_a, a.end())) - 1;
  const auto below_b = static_cast<std::size_t>(std::distance(end_b, b.end())) - 1;
  const std::size_t switches = below_a / 2 + below_b / 2 + ((below_a | below_b) & 1);
  return switches <= 1 ? PciDistance::pix : PciDistance::pxb;
}

}  // namespace accl::verbs
