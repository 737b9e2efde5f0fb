#include "transport/verbs/port.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <system_error>

#include "accl/base/error.h"
#include "accl/base/log.h"

namespace accl::verbs {
namespace {

constexpr std::uint32_t soft_roce_vendor = 0xFFFFFF;

bool is_ipv4(const Gid& gid) {
  constexpr Gid mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0, 0, 0};
  return std::equal(gid.begin(), gid.begin() + 12, mapped.begin());
}

bool is_link_local(const Gid& gid) { return gid[0] == 0xFE && (gid[1] & 0xC0) == 0x80; }

bool is_nothing(const Gid& gid) {
  return std::ranges::all_of(gid, [](std::uint8_t byte) { return byte == 0; });
}

int bytes_of(ibv_mtu mtu) { return 128 << mtu; }

std::string words(int error) { return std::generic_category().message(error); }

}  // namespace

const char* Port::state_words() const {
  switch (attributes_.state) {
    case IBV_PORT_DOWN:
      return "down";
    case IBV_PORT_INIT:
      return "initialising";
    case IBV_PORT_ARMED:
      return "armed";
    case IBV_PORT_ACTIVE:
    case IBV_PORT_ACTIVE_DEFER:
      return "active";
    default:
      return "in no state";
  }
}

std::string text_of(const Gid& gid) {
  char text[INET6_ADDRSTRLEN] = "?";
  const bool is_v4 = is_ipv4(gid);
  inet_ntop(is_v4 ? AF_INET : AF_INET6, gid.data() + (is_v4 ? 12 : 0), text, sizeof text);
  return text;
}

const GidEntry* choose_gid(std::span<const GidEntry> table, const Settings& settings) {
  const auto fits = [&](const GidEntry& entry) {
    const bool is_version = entry.roce_version == settings.roce_version || entry.roce_version == 0;
    return is_version && (!settings.address_range || settings.address_range->holds(entry.gid));
  };
  const auto rank = [&](const GidEntry& entry) {  // The least is best.
    const bool is_family = is_ipv4(entry.gid) != settings.wants_ipv6;
    return (is_family ? 0 : 2) + (is_link_local(entry.gid) ? 1 : 0);
  };
  const GidEntry* best = nullptr;
  for (const GidEntry& entry : table) {
    if (fits(entry) && (best == nullptr || rank(entry) < rank(*best))) best = &entry;
  }
  return best;
}

Port::Port(const Api& api, ibv_device* device, std::uint8_t number, const Settings& settings)
    : api_(api),
      settings_(settings),
      device_(device->name),
      folder_(device->ibdev_path),
      number_(number),
      context_(api.open_device(device), api.close_device),
      domain_(nullptr, api.dealloc_pd),
      post_way_(settings.post_way) {
  if (!context_) {
    fail(ErrorKind::system,
         "verbs: cannot open {}: {}; /dev/infiniband must be there and allowed (containers: "
         "--device=/dev/infiniband)",
         device_, words(errno));
  }
  query();
}

// The function knows an older and shorter form of the same structure.
int Port::ask(ibv_port_attr& of) const {
  return api_.query_port(context_.get(), number_, reinterpret_cast<_compat_ibv_port_attr*>(&of));
}

bool Port::is_up() const {
  ibv_port_attr now{};
  return ask(now) == 0 && now.state == IBV_PORT_ACTIVE;
}

void Port::query() {
  if (const int error = ask(attributes_); error != 0) {
    fail(ErrorKind::system, "verbs: {} does not describe port {}: {}", device_, number_,
         words(error));
  }
  if (const int error = api_.query_device(context_.get(), &limits_); error != 0) {
    fail(ErrorKind::system, "verbs: {} does not tell its limits: {}", device_, words(error));
  }
  if (!is_active()) return;
  domain_.reset(api_.alloc_pd(context_.get()));
  if (!domain_)
    fail(ErrorKind::system, "verbs: {}: no protection domain: {}", device_, words(errno));
  choose_address();
  mtu_ = attributes_.active_mtu;
  if (settings_.mtu_bytes == 0) return;
  if (settings_.mtu_bytes > bytes_of(mtu_)) {
    fail(ErrorKind::invalid_argument, "ACCL_IB_MTU={}: {} port {} carries {} at most",
         settings_.mtu_bytes, device_, number_, bytes_of(mtu_));
  }
  while (bytes_of(mtu_) > settings_.mtu_bytes) mtu_ = static_cast<ibv_mtu>(mtu_ - 1);
}

std::vector<GidEntry> Port::gid_table() const {
  std::vector<GidEntry> table;
  for (int i = 0; i < attributes_.gid_tbl_len; ++i) {
    GidEntry entry{.index = i};
    ibv_gid gid{};
    if (api_.query_gid(context_.get(), number_, i, &gid) != 0) continue;
    std::copy(std::begin(gid.raw), std::end(gid.raw), entry.gid.begin());
    if (is_nothing(entry.gid)) continue;
    std::ifstream file(fmt::format("{}/ports/{}/gid_attrs/types/{}", folder_, number_, i));
    std::string type;
    if (std::getline(file, type)) entry.roce_version = type == "RoCE v2" ? 2 : 1;
    table.push_back(entry);
  }
  return table;
}

void Port::choose_address() {
  const std::vector<GidEntry> table = gid_table();
  const GidEntry* chosen = nullptr;
  if (settings_.gid_index >= 0) {
    const auto found = std::ranges::find(table, settings_.gid_index, &GidEntry::index);
    if (found != table.end()) chosen = &*found;
  } else if (is_ethernet()) {
    chosen = choose_gid(table, settings_);
  } else if (!table.empty()) {
    chosen = &table.front();
  }
  if (chosen != nullptr) {
    gid_ = *chosen;
    return;
  }
  std::string all;
  for (const GidEntry& entry : table) {
    const char* const kind = entry.roce_version == 0   ? "no RoCE"
                             : entry.roce_version == 1 ? "RoCE v1"
                                                       : "RoCE v2";
    all +=
        fmt::format("{}{} {} ({})", all.empty() ? "" : ", ", entry.index, text_of(entry.gid), kind);
  }
  fail(ErrorKind::invalid_argument,
       "verbs: no GID of {} port {} is what ACCL_IB_GID_INDEX, ROCE_VERSION_NUM and ADDR_RANGE ask "
       "for; there are: {}",
       device_, number_, all.empty() ? "none (has its interface an address?)" : all);
}

std::string Port::text() const {
  if (is_ethernet()) {
    return fmt::format("{} port {}, GID {} ({})", device_, number_, gid_.index, text_of(gid_.gid));
  }
  return fmt::format("{} port {}, LID {}", device_, number_, lid());
}

std::uint8_t Port::retries() const {
  constexpr std::uint8_t most = 6;
  return limits_.vendor_id == soft_roce_vendor ? std::min(settings_.retries, most)
                                               : settings_.retries;
}

void Port::post_classically(int error) const {
  post_way_ = PostWay::classic;
  log(LogLevel::info, "verbs: {} has no ibv_wr_* ({}): requests go by ibv_post_send", text(),
      words(error));
}

Owned<ibv_mr> Port::add(std::span<std::byte> memory, bool is_for_peers) const {
  const int access = IBV_ACCESS_LOCAL_WRITE | (is_for_peers ? IBV_ACCESS_REMOTE_WRITE : 0);
  Owned<ibv_mr> region(api_.reg_mr(domain_.get(), memory.data(), memory.size(), access),
                       api_.dereg_mr);
  if (!region) refuse_memory(memory.size(), errno);
  return region;
}

void Port::refuse_memory(std::size_t bytes, int error) const {
  fail(ErrorKind::system, "verbs: {} does not register {} bytes: {}{}", device_, bytes,
       words(error),
       error == ENOMEM ? "; raise the limit of locked memory (ulimit -l unlimited; containers: "
                         "--ulimit memlock=-1)"
                       : "");
}

namespace {

// How many ports a device has; 0, with why in words, where it cannot be asked.
std::uint8_t port_count(const Api& api, ibv_device* device, std::string& why) {
  const Owned<ibv_context> context(api.open_device(device), api.close_device);
  ibv_device_attr limits{};
  int error = context ? 0 : errno;
  if (context) error = api.query_device(context.get(), &limits);
  if (error != 0) {
    why = words(error) + "; /dev/infiniband must be there and allowed";
    return 0;
  }
  return limits.phys_port_cnt;
}

// What there is, for people, of which nothing can be used.
class Others {
 public:
  void add(const std::string& what, const std::string& why) {
    text_ += fmt::format("{}{} ({})", text_.empty() ? "" : ", ", what, why);
  }
  [[noreturn]] void refuse() const {
    fail(ErrorKind::system, "verbs: no RDMA port to use; {}",
         text_.empty() ? "this machine has no RDMA device (rdma link; /dev/infiniband)"
                       : "there are: " + text_);
  }

 private:
  std::string text_;
};

}  // namespace

std::vector<std::unique_ptr<Port>> open_ports(const Api& api, const Settings& settings) {
  int count = 0;
  const std::unique_ptr<ibv_device*, void (*)(ibv_device**)> list(api.get_device_list(&count),
                                                                  api.free_device_list);
  std::vector<std::unique_ptr<Port>> ports;
  Others others;
  const auto try_port = [&](ibv_device* device, std::uint8_t number) {
    const std::string name = fmt::format("{} port {}", device->name, number);
    if (!settings.devices.admits(device->name, number)) {
      return others.add(name, "not among ACCL_IB_HCA");
    }
    try {  // One that does not work is no reason not to use another.
      auto port = std::make_unique<Port>(api, device, number, settings);
      if (!port->is_active()) return others.add(name, port->state_words());
      ports.push_back(std::move(port));
    } catch (const Error& error) {
      others.add(name, error.what());
    }
  };
  for (int i = 0; list != nullptr && i < count; ++i) {
    std::string why;
    const std::uint8_t ports_there = port_count(api, list.get()[i], why);
    if (ports_there == 0) others.add(list.get()[i]->name, why);
    for (std::uint8_t number = 1; number <= ports_there; ++number) {
      try_port(list.get()[i], number);
    }
  }
  if (ports.empty()) others.refuse();
  return ports;
}

}  // namespace accl::verbs
