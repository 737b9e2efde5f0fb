// port.h - one port of an RDMA device, opened: what queues and memory regions belong to.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "transport/verbs/api.h"
#include "transport/verbs/settings.h"

namespace accl::verbs {

// An object of libibverbs and the function that ends it.
template <class Object>
using Owned = std::unique_ptr<Object, int (*)(Object*)>;

using Gid = std::array<std::uint8_t, 16>;

// "::ffff:10.0.0.1" as "10.0.0.1", others as IPv6.
std::string text_of(const Gid& gid);

// An entry of a port's GID table.
struct GidEntry {
  int index = 0;
  Gid gid{};
  int roce_version = 0;  // 1 or 2; 0: not RoCE, or the kernel does not say.
};

// The one to use on Ethernet by what the user wants, else by what every network has: RoCE v2, IPv4,
// not link-local. Null where no entry is of the version and range wanted.
const GidEntry* choose_gid(std::span<const GidEntry> table, const Settings& settings);

class Port {
 public:
  // Throws Error (system, or invalid_argument where a setting asks for what the port has not) that
  // names device, port and remedy.
  Port(const Api& api, ibv_device* device, std::uint8_t number, const Settings& settings);
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;
  ~Port() = default;

  const Api& api() const { return api_; }
  const Settings& settings() const { return settings_; }
  ibv_context* context() const { return context_.get(); }
  ibv_pd* domain() const { return domain_.get(); }
  std::uint8_t number() const { return number_; }
  const std::string& device() const { return device_; }
  // "mlx5_0 port 1, GID 3 (10.0.0.1)": for people.
  std::string text() const;

  bool is_ethernet() const { return attributes_.link_layer == IBV_LINK_LAYER_ETHERNET; }
  bool is_active() const { return attributes_.state == IBV_PORT_ACTIVE; }
  bool is_up() const;               // Asks the device again.
  const char* state_words() const;  // "active", "down".
  std::uint16_t lid() const { return attributes_.lid; }
  const GidEntry& gid() const { return gid_; }
  ibv_mtu mtu() const { return mtu_; }
  const ibv_device_attr& limits() const { return limits_; }
  // Soft-RoCE takes seven retries for ever.
  std::uint8_t retries() const;

  // What the settings want, or what turned out to be possible.
  PostWay post_way() const { return post_way_; }
  // Another way got this errno.
  void post_classically(int error) const;

  // Local writes and writes of peers. Throws Error (system) that names the limit to raise.
  Owned<ibv_mr> add(std::span<std::byte> memory, bool is_for_peers) const;
  // Throws what add() throws where the device gives this errno.
  [[noreturn]] void refuse_memory(std::size_t bytes, int error) const;

 private:
  int ask(ibv_port_attr& of) const;
  void query();
  void choose_address();
  std::vector<GidEntry> gid_table() const;

  const Api& api_;
  const Settings settings_;
  const std::string device_;
  const std::string folder_;  // Of the device, in sysfs.
  const std::uint8_t number_;
  Owned<ibv_context> context_;
  Owned<ibv_pd> domain_;
  ibv_port_attr attributes_{};
  ibv_device_attr limits_{};
  GidEntry gid_;
  ibv_mtu mtu_ = IBV_MTU_1024;
  mutable PostWay post_way_;  // Found out by who first makes a queue pair.
};

// The ports that the settings admit and whose link is up, in the order of the driver's list,
// opened. Those that do not work are left out; where none is left, throws Error that says why of
// each.
std::vector<std::unique_ptr<Port>> open_ports(const Api& api, const Settings& settings);

}  // namespace accl::verbs
