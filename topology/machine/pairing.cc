#include "topology/machine/pairing.h"

#include <algorithm>

#include "topology/machine/assignment.h"

namespace accl::topology {
namespace {

bool is_up(const Nic& nic) {
  return std::any_of(nic.ports.begin(), nic.ports.end(),
                     [](const Port& port) { return !port.is_down; });
}

double bits_per_second(const Nic& nic) {
  double sum = 0;
  for (const Port& port : nic.ports) sum += port.bits_per_second;
  return sum;
}

bool is_fit(const Nic& nic, double fastest) {
  const double rate = bits_per_second(nic);
  return is_up(nic) && (rate == 0 || rate * 4 >= fastest);
}

std::vector<NicId> fit_nics(const Machine& machine) {
  double fastest = 0;
  for (const Nic& nic : machine.nics) {
    if (is_up(nic)) fastest = std::max(fastest, bits_per_second(nic));
  }
  std::vector<NicId> fit;
  std::vector<NicId> all;
  for (std::uint32_t i = 0; i < machine.nics.size(); ++i) {
    all.push_back(NicId{i});
    if (is_fit(machine.nics[i], fastest)) fit.push_back(NicId{i});
  }
  return fit.empty() ? all : fit;
}

// Only sums of these are compared; crossing sockets outweighs all that a host bridge can cost.
std::int64_t weight_of(PathType path, bool same_processor) {
  switch (path) {
    case PathType::pix:
      return 0;
    case PathType::pxb:
      return 1;
    case PathType::phb:
      return 3;
    case PathType::node:
      return 5;
    default:
      return same_processor ? 12 : 24;
  }
}

// Least when the first GPUs have the first NICs; convex, so that pairs never cross.
std::int64_t tie_of(std::size_t gpu, std::size_t gpus, std::size_t nic, std::size_t nics) {
  const auto place_of_gpu = static_cast<std::int64_t>((2 * gpu + 1) * nics);
  const auto place_of_nic = static_cast<std::int64_t>((2 * nic + 1) * gpus);
  return (place_of_gpu - place_of_nic) * (place_of_gpu - place_of_nic);
}

std::vector<UserCost> costs_of(const Machine& machine, const std::vector<NicId>& nics) {
  std::vector<UserCost> costs;
  for (std::size_t i = 0; i < machine.gpus.size(); ++i) {
    const Gpu& gpu = machine.gpus[i];
    for (std::size_t j = 0; j < nics.size(); ++j) {
      const Nic& nic = machine.nic(nics[j]);
      const PathType path = pcie_path_between(machine, gpu.node, nic.node);
      const bool same_processor = gpu.processor >= 0 && gpu.processor == nic.processor;
      costs.push_back({shares_switch(path) ? 0 : 1, weight_of(path, same_processor),
                       tie_of(i, machine.gpus.size(), j, nics.size())});
    }
  }
  return costs;
}

std::vector<std::size_t> ports_up(const Nic& nic) {
  std::vector<std::size_t> ports;
  for (std::size_t i = 0; i < nic.ports.size(); ++i) {
    if (!nic.ports[i].is_down) ports.push_back(i);
  }
  if (ports.empty()) ports.push_back(0);
  return ports;
}

}  // namespace

std::vector<Pair> pair_devices(const Machine& machine) {
  const std::vector<NicId> nics = fit_nics(machine);
  if (nics.empty() || machine.gpus.empty()) return {};
  std::vector<std::vector<std::size_t>> ports;
  std::vector<unsigned> port_counts;
  for (const NicId nic : nics) {
    ports.push_back(ports_up(machine.nic(nic)));
    port_counts.push_back(static_cast<unsigned>(ports.back().size()));
  }
  const std::vector<std::size_t> choice = assign(costs_of(machine, nics), port_counts);
  std::vector<std::size_t> users(nics.size());
  std::vector<Pair> pairs;
  for (std::uint32_t i = 0; i < choice.size(); ++i) {
    const std::size_t j = choice[i];
    const std::size_t port = ports[j][users[j]++ % ports[j].size()];
    pairs.push_back({GpuId{i}, nics[j], port,
                     pcie_path_between(machine, machine.gpus[i].node, machine.nic(nics[j]).node)});
  }
  return pairs;
}

std::vector<NicId> unfit_nics(const Machine& machine) {
  const std::vector<NicId> fit = fit_nics(machine);
  std::vector<NicId> unfit;
  for (std::uint32_t i = 0; i < machine.nics.size(); ++i) {
    if (std::find(fit.begin(), fit.end(), NicId{i}) == fit.end()) unfit.push_back(NicId{i});
  }
  return unfit;
}

}  // namespace accl::topology
