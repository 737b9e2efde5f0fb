// pci.h - how far two devices of this machine lie apart, by their folders in sysfs.
#pragma once

#include <cstdint>
#include <string>

namespace accl::verbs {

// In the letters of `nvidia-smi topo -m`. The nearer, the smaller.
enum class PciDistance : std::uint8_t {
  loc,  // The same device.
  pix,  // At most one PCIe switch.
  pxb,  // Several PCIe switches, but not the CPU.
  phb,  // The CPU: its host bridge, or several of one NUMA node.
  sys,  // The interconnect between NUMA nodes.
};

const char* to_string(PciDistance distance);

// The device's own folder, which names every bridge above it, as
// ".../pci0000:16/0000:16:02.0/0000:17:00.0". `link` is below `sysfs`, the root of that file
// system. Empty where the device is not there, or is none on PCI.
std::string pci_folder(const std::string& sysfs, const std::string& link);

// Of two such folders. An empty one is as far away as can be.
PciDistance pci_distance(const std::string& one, const std::string& other);

}  // namespace accl::verbs
