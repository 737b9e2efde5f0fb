// pairing.h - which NIC each GPU sends and receives through.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "topology/machine/machine.h"
#include "topology/machine/path.h"

namespace accl::topology {

struct Pair {
  GpuId gpu{};
  NicId nic{};
  std::size_t port = 0;  // Index of Nic::ports.
  PathType path{};
};

// A pair for every GPU, in the order of the GPUs; empty where there is no NIC. First as many GPUs
// as can be get a NIC under their own PCIe switch; then the NICs are shared as evenly as can be;
// then the paths are the shortest; what is still equal goes by bus id, first to first. NICs that
// are down, or have less than a quarter of the fastest one's rate, serve only if there is no other.
std::vector<Pair> pair_devices(const Machine& machine);

// What pair_devices left out although it is a NIC.
std::vector<NicId> unfit_nics(const Machine& machine);

}  // namespace accl::topology
