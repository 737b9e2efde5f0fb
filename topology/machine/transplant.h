// transplant.h - puts the PCIe tree of a bare machine onto the bus ids that a virtual machine on it
// shows. Hypervisors hide the switches; NCCL and we then cannot see which NIC is next to which GPU.
#pragma once

#include <string>
#include <vector>

#include "topology/machine/machine.h"

namespace accl::topology {

struct Transplant {
  std::string nccl_text;               // The bare tree with the virtual machine's devices.
  std::vector<std::string> sentences;  // How each device was matched, and what was assumed.
};

// NICs are matched by GUID where those of both are the same set, all other devices by vendor,
// class, device or subsystem, NUMA node and order of bus ids. Throws Error(invalid_argument) where
// the counts differ, a device has no counterpart, or GPU links contradict the order.
Transplant transplant(const Machine& bare, const Machine& vm);

}  // namespace accl::topology
