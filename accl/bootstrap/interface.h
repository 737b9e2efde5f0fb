// interface.h - which addresses of this host the job uses, by ACCL_SOCKET_IFNAME and
// ACCL_SOCKET_FAMILY with NCCL's meaning: a comma list of name prefixes, "^" in front excludes
// them, "=" in front asks for whole names ("=eth0,eth1", "^=docker0"); and, for data alone, by
// ACCL_DATA_IFNAME, which is written alike.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "accl/bootstrap/address.h"

namespace accl::bootstrap {

struct Interface {
  std::string name;
  Address address;
};

// Addresses of the interfaces that are up, in the kernel's order.
std::vector<Interface> list_interfaces();

// Pure, for tests. Without a filter: the first that is neither loopback nor docker's, else
// docker's, else loopback; link-local IPv6 only where a filter leaves nothing else. Throws Error
// that names the filter, the variable it comes from, and what there is.
Address choose_address(std::span<const Interface> interfaces, const std::string& filter, int family,
                       std::string_view variable = "ACCL_SOCKET_IFNAME");

// The same on this host, by the two variables.
Address choose_address();

// What ACCL_DATA_IFNAME chooses on this host; empty where it is unset.
std::optional<Address> choose_data_address();

}  // namespace accl::bootstrap
