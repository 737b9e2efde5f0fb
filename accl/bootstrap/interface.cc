#include "accl/bootstrap/interface.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "accl/base/error.h"
#include "accl/base/units.h"

namespace accl::bootstrap {
namespace {

struct FreeInterfaces {
  void operator()(ifaddrs* list) const { freeifaddrs(list); }
};

struct Filter {
  bool exclude = false;
  bool exact = false;
  std::vector<std::string> names;

  bool allows(const std::string& name) const {
    if (names.empty()) return true;
    const bool listed = std::any_of(names.begin(), names.end(), [&](const std::string& wanted) {
      return exact ? name == wanted : name.starts_with(wanted);
    });
    return listed != exclude;
  }
};

Filter parse_filter(std::string_view text) {
  Filter filter;
  if (text.starts_with('^')) {
    filter.exclude = true;
    text.remove_prefix(1);
  }
  if (text.starts_with('=')) {
    filter.exact = true;
    text.remove_prefix(1);
  }
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    // NCCL allows "eth0:port" here; the port means nothing to us.
    const std::string_view name = text.substr(0, comma).substr(0, text.substr(0, comma).find(':'));
    if (!name.empty()) filter.names.emplace_back(name);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return filter;
}

// Lower is better; the kernel's order decides among equals.
int dislike(const Interface& one) {
  if (one.address.is_link_local()) return 3;  // Useless without the interface's name over there.
  if (one.address.is_loopback()) return 2;
  return one.name.starts_with("docker") ? 1 : 0;
}

}  // namespace

std::vector<Interface> list_interfaces() {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) fail_system("cannot list the network interfaces", errno);
  const std::unique_ptr<ifaddrs, FreeInterfaces> owner(list);
  std::vector<Interface> found;
  for (const ifaddrs* at = list; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr || (at->ifa_flags & IFF_UP) == 0) continue;
    const int family = at->ifa_addr->sa_family;
    if (family == AF_INET) found.push_back({at->ifa_name, {at->ifa_addr, sizeof(sockaddr_in)}});
    if (family == AF_INET6) found.push_back({at->ifa_name, {at->ifa_addr, sizeof(sockaddr_in6)}});
  }
  return found;
}

Address choose_address(std::span<const Interface> interfaces, const std::string& filter, int family,
                       std::string_view variable) {
  const Filter wanted = parse_filter(filter);
  const Interface* best = nullptr;
  std::string all;
  for (const Interface& one : interfaces) {
    all += fmt::format("{}{} ({})", all.empty() ? "" : ", ", one.name, one.address.text());
    if (!wanted.allows(one.name)) continue;
    if (family != AF_UNSPEC && family != one.address.family()) continue;
    if (best == nullptr || dislike(one) < dislike(*best)) best = &one;
  }
  if (best != nullptr) return best->address;
  const char* const kind = family == AF_INET6 ? "IPv6" : "IPv4";
  fail(ErrorKind::invalid_argument, "{}='{}': no interface that is up fits{}; there are: {}",
       variable, filter, family == AF_UNSPEC ? "" : fmt::format(" and has an {} address", kind),
       all);
}

Address choose_address() {
  return choose_address(list_interfaces(), environment_text("ACCL_SOCKET_IFNAME"), wanted_family());
}

std::optional<Address> choose_data_address() {
  constexpr const char* variable = "ACCL_DATA_IFNAME";
  const std::string filter = environment_text(variable);
  if (filter.empty()) return std::nullopt;
  return choose_address(list_interfaces(), filter, wanted_family(), variable);
}

}  // namespace accl::bootstrap
