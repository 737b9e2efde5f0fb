// pci.h - addresses and identities of PCI functions, and what kind of device they make.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace accl::topology {

// Domains have 32 bits: virtual machines and POWER number them far beyond 16.
struct PciAddress {
  std::uint32_t domain = 0;
  std::uint8_t bus = 0;
  std::uint8_t device = 0;    // 0..31
  std::uint8_t function = 0;  // 0..7

  friend auto operator<=>(const PciAddress&, const PciAddress&) = default;
};

// "0000:3b:00.0"; four to eight digits of domain, or none for domain 0. Nothing else is accepted.
std::optional<PciAddress> parse_pci_address(std::string_view text);
// Lower case, at least four digits of domain: as sysfs and nvidia-smi's users write it.
std::string to_string(const PciAddress& address);

// Zero stands for "the source does not say".
struct PciFunction {
  PciAddress address;
  std::uint16_t vendor = 0;
  std::uint16_t device = 0;
  std::uint16_t subsystem_vendor = 0;
  std::uint16_t subsystem_device = 0;
  std::uint32_t class_code = 0;  // Base class, subclass, interface: 0x030200.
  std::string link_speed;        // Per lane, in the words of the source: "16.0 GT/s PCIe".
  unsigned link_width = 0;       // Lanes.
  double bytes_per_second = 0;   // Of the whole link, one direction.
};

// What a link of this many lanes carries, coding counted and packet headers not; 0 where
// `link_speed` is none of the speeds there are.
double link_bytes_per_second(std::string_view link_speed, unsigned link_width);

// The inverse, for a source that gives only the product: sets speed and width to the widest link
// that carries as much. Leaves both empty for 0.
void guess_link(PciFunction& pci);

constexpr std::uint32_t class_bridge = 0x0604;
constexpr std::uint32_t class_of(const PciFunction& pci) { return pci.class_code >> 8; }

// By vendor and class, since class alone also names the screens of management controllers and
// FPGAs. A source that gives no vendor is trusted about the class.
bool is_gpu(const PciFunction& pci);

// True where vendor and class alone make it a NIC that GPUs talk through: InfiniBand, Omni-Path,
// Slingshot, EFA, and Mellanox Ethernet. Plain Ethernet is not: it carries logins, no gradients.
// Other vendors' RoCE is recognised by its RDMA device, see Evidence in builder.h.
bool is_fabric_nic(const PciFunction& pci);

bool is_nvswitch(const PciFunction& pci);

// "NVIDIA", "AMD", ... or "" for vendors that make neither GPUs nor NICs of ours.
std::string_view vendor_name(std::uint16_t vendor);

}  // namespace accl::topology
