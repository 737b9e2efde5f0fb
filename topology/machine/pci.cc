#include "topology/machine/pci.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace accl::topology {
namespace {

constexpr std::uint16_t nvidia = 0x10de;
constexpr std::uint16_t amd = 0x1002;
constexpr std::uint16_t intel = 0x8086;
constexpr std::uint16_t hygon = 0x1d94;
constexpr std::uint16_t mellanox = 0x15b3;
constexpr std::uint16_t amazon = 0x1d0f;
constexpr std::uint16_t cray = 0x17db;

constexpr std::uint32_t class_vga = 0x0300;
constexpr std::uint32_t class_3d = 0x0302;
constexpr std::uint32_t class_display = 0x0380;
constexpr std::uint32_t class_accelerator = 0x1200;
constexpr std::uint32_t class_ethernet = 0x0200;
constexpr std::uint32_t class_infiniband = 0x0207;
constexpr std::uint32_t class_fabric = 0x0208;  // Omni-Path.
constexpr std::uint32_t class_other_bridge = 0x0680;

// Takes hexadecimal digits up to `end` (a character, or 0 for the end of the text).
std::optional<std::uint32_t> take_hex(std::string_view& text, char end, std::size_t max_digits) {
  const std::size_t size = end == 0 ? text.size() : text.find(end);
  if (size == std::string_view::npos || size == 0 || size > max_digits) return std::nullopt;
  std::uint32_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + size, value, 16);
  if (error != std::errc{} || stop != text.data() + size) return std::nullopt;
  text.remove_prefix(std::min(text.size(), size + 1));
  return value;
}

struct Speed {
  double gigatransfers;
  double share_of_data;  // 8 of 10 bits up to PCIe 2, 128 of 130 from PCIe 3 on.
  std::string_view name;
};
constexpr std::array<Speed, 6> speeds{{{2.5, 0.8, "2.5 GT/s PCIe"},
                                       {5, 0.8, "5.0 GT/s PCIe"},
                                       {8, 128.0 / 130, "8.0 GT/s PCIe"},
                                       {16, 128.0 / 130, "16.0 GT/s PCIe"},
                                       {32, 128.0 / 130, "32.0 GT/s PCIe"},
                                       {64, 128.0 / 130, "64.0 GT/s PCIe"}}};

double bytes_per_second(const Speed& speed, unsigned width) {
  return speed.gigatransfers * speed.share_of_data * width / 8 * 1e9;
}

}  // namespace

std::optional<PciAddress> parse_pci_address(std::string_view text) {
  PciAddress address;
  if (std::count(text.begin(), text.end(), ':') == 2) {
    const auto domain = take_hex(text, ':', 8);
    if (!domain) return std::nullopt;
    address.domain = *domain;
  }
  const auto bus = take_hex(text, ':', 2);
  const auto device = bus ? take_hex(text, '.', 2) : std::nullopt;
  const auto function = device ? take_hex(text, 0, 1) : std::nullopt;
  if (!function || *device > 31 || *function > 7) return std::nullopt;
  address.bus = static_cast<std::uint8_t>(*bus);
  address.device = static_cast<std::uint8_t>(*device);
  address.function = static_cast<std::uint8_t>(*function);
  return address;
}

std::string to_string(const PciAddress& address) {
  return fmt::format("{:04x}:{:02x}:{:02x}.{:x}", address.domain, address.bus, address.device,
                     address.function);
}

double link_bytes_per_second(std::string_view link_speed, unsigned link_width) {
  double number = 0;
  const char* const end = link_speed.data() + link_speed.size();
  if (std::from_chars(link_speed.data(), end, number).ec != std::errc{}) return 0;
  for (const Speed& speed : speeds) {
    if (speed.gigatransfers == number) return bytes_per_second(speed, std::min(link_width, 32u));
  }
  return 0;
}

void guess_link(PciFunction& pci) {
  if (pci.bytes_per_second <= 0) return;
  double best_error = 0.02;  // Sources round.
  for (const unsigned width : {16u, 8u, 4u, 2u, 1u}) {
    for (const Speed& speed : speeds) {
      const double error = std::abs(bytes_per_second(speed, width) / pci.bytes_per_second - 1);
      if (error >= best_error) continue;
      best_error = std::min(error, 0.001);  // A narrower link must be a much better match.
      pci.link_speed = speed.name;
      pci.link_width = width;
    }
  }
}

bool is_gpu(const PciFunction& pci) {
  const std::uint32_t kind = class_of(pci);
  const bool is_screen = kind == class_vga || kind == class_3d || kind == class_display;
  switch (pci.vendor) {
    case nvidia:
      return kind == class_3d || kind == class_vga;
    case amd:
      return is_screen || kind == class_accelerator;
    case hygon:
      return is_screen || kind == class_accelerator;
    case intel: {
      // Class 1200 of Intel is an FPGA; 00:02.0 is the screen in the processor.
      const PciAddress processor_screen{pci.address.domain, 0, 2, 0};
      return is_screen && pci.address != processor_screen;
    }
    case 0:
      return kind == class_3d || kind == class_display || kind == class_accelerator;
    default:
      return false;
  }
}

bool is_fabric_nic(const PciFunction& pci) {
  const std::uint32_t kind = class_of(pci);
  if (kind == class_infiniband || kind == class_fabric) return true;
  if (kind >> 8 != class_ethernet >> 8) return false;
  return pci.vendor == mellanox || pci.vendor == cray ||
         (pci.vendor == amazon && pci.device >> 8 == 0xef);  // 1d0f:ec20 is the slow one.
}

bool is_nvswitch(const PciFunction& pci) {
  return pci.vendor == nvidia && class_of(pci) == class_other_bridge;
}

std::string_view vendor_name(std::uint16_t vendor) {
  switch (vendor) {
    case nvidia:
      return "NVIDIA";
    case amd:
      return "AMD";
    case intel:
      return "Intel";
    case hygon:
      return "Hygon";
    case mellanox:
      return "Mellanox";
    case amazon:
      return "Amazon";
    case cray:
      return "Cray";
    case 0x1137:
      return "Cisco";
    case 0x14e4:
      return "Broadcom";
    default:
      return "";
  }
}

}  // namespace accl::topology
