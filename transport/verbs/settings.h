// settings.h - what a user may say about RDMA, by environment: ACCL_X, or where that is not set
// NCCL_X with NCCL's meaning. docs/rdma.md lists them.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "transport/verbs/paths.h"
#include "transport/verbs/pci.h"

namespace accl::verbs {

// "[^][=]mlx5_0[:1],mlx5_2": prefixes of device names, each with a port or without; "=" whole
// names, "^" all but these. An empty one admits everything.
struct DeviceFilter {
  struct Pattern {
    std::string name;
    int port = -1;  // -1: any.
  };
  std::string text;
  bool is_exact = false;
  bool is_excluding = false;
  std::vector<Pattern> patterns;

  bool admits(std::string_view device, int port) const;
};

// The first `bits` bits of an address, IPv4 in its mapped form: "10.1.0.0/16" has 112.
struct AddressRange {
  std::array<std::uint8_t, 16> address{};
  int bits = 0;

  bool holds(const std::array<std::uint8_t, 16>& other) const;
};

// How a device reaches the memory of a GPU.
enum class GpuWay : std::uint8_t {
  dma_buf,  // A descriptor of the memory, which the kernel maps for the device.
  peermem,  // The kernel module nvidia-peermem, which knows GPU addresses.
  staging,  // Not at all: bytes are copied to host memory first.
};

struct GpuSettings {
  std::optional<GpuWay> way;                // Empty: the first of them that is possible.
  PciDistance farthest = PciDistance::pxb;  // At which a device and a GPU still meet directly.
  bool uses_dma_buf = true;
  bool reads_in_place = true;  // What is sent; else the driver copies it first.
  bool never_flushes = false, always_flushes = false;
  std::string cuda_library;  // Empty: see cuda::Api::library_name.
  std::string sysfs = "/sys";
};

enum class RelaxedOrdering : std::uint8_t { never, always, where_known };

// How requests are posted: by ibv_wr_* where the device has them, only by them, or by
// ibv_post_send.
enum class PostWay : std::uint8_t { where_known, extended, classic };

// More are as many: there are no more lanes.
constexpr std::uint32_t max_paths_per_connection = 4;

struct Settings {
  DeviceFilter devices;
  int gid_index = -1;  // -1: chosen by the next three.
  int roce_version = 2;
  bool wants_ipv6 = false;
  std::optional<AddressRange> address_range;
  std::uint8_t traffic_class = 0;  // DSCP << 2 | ECN.
  std::uint8_t service_level = 0;
  std::uint16_t pkey_index = 0;
  std::uint8_t timeout = 18;  // Of an acknowledgement: 4.096 us * 2^timeout.
  std::uint8_t retries = 7;
  int mtu_bytes = 0;  // 0: the port's.
  bool fails_over = true;
  // Over how many different labels the lanes of a connection go.
  std::uint32_t paths_per_connection = max_paths_per_connection;
  // By lane, in turn; empty: each lane has one of its own, by a rule both ends know.
  std::vector<std::uint32_t> flow_labels;
  // Where those are empty: what lanes are pinned by. Null: nothing is known of paths.
  std::shared_ptr<const PathTable> paths;
  std::string paths_file;  // What they were read from.
  // Whether PCIe may write the data of users out of order; `where_known`: where libibverbs knows
  // of it.
  RelaxedOrdering relaxed_ordering = RelaxedOrdering::where_known;
  PostWay post_way = PostWay::where_known;
  GpuSettings gpu;
};

// `get` gives a variable's text or null. Throws Error(invalid_argument) that names the variable and
// what it takes.
Settings read_settings(const std::function<const char*(const char*)>& get);
Settings read_settings();  // Of this process.

}  // namespace accl::verbs
