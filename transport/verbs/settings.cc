#include "transport/verbs/settings.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>

#include "accl/base/error.h"
#include "accl/base/log.h"

namespace accl::verbs {
namespace {

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(at), text.size());
    if (end > 0) parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

std::optional<int> number_of(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// One variable, under both of its names.
class Variable {
 public:
  Variable(const std::function<const char*(const char*)>& get, const std::string& name)
      : name_("ACCL_" + name) {
    const char* text = get(name_.c_str());
    if (text == nullptr || *text == '\0') {
      const std::string theirs = "NCCL_" + name;
      text = get(theirs.c_str());
      if (text != nullptr && *text != '\0') name_ = theirs;
    }
    if (text != nullptr) text_ = text;
  }

  bool is_set() const { return !text_.empty(); }
  const std::string& name() const { return name_; }
  const std::string& text() const { return text_; }

  [[noreturn]] void refuse(const std::string& takes) const {
    fail(ErrorKind::invalid_argument, "{}='{}': {}", name_, text_, takes);
  }

  template <class Number>
  void read(Number& to, int least, int most, const char* what) const {
    if (!is_set()) return;
    const std::optional<int> value = number_of(text_);
    if (!value || *value < least || *value > most) {
      refuse(fmt::format("give {} from {} to {}", what, least, most));
    }
    to = static_cast<Number>(*value);
  }

 private:
  std::string name_;
  std::string text_;
};

DeviceFilter read_filter(const Variable& variable) {
  DeviceFilter filter;
  std::string_view rest = variable.text();
  filter.text = rest;
  if (rest.starts_with('^')) filter.is_excluding = true, rest.remove_prefix(1);
  if (rest.starts_with('=')) filter.is_exact = true, rest.remove_prefix(1);
  for (const std::string_view part : split(rest, ',')) {
    const std::vector<std::string_view> words = split(part, ':');  // NCCL: rail and plane follow.
    DeviceFilter::Pattern pattern;
    if (!words.empty()) pattern.name = words[0];
    const std::optional<int> port = words.size() > 1 ? number_of(words[1]) : -1;
    if (pattern.name.empty() || !port) {
      variable.refuse(
          "give device names, as mlx5_0,mlx5_1:1; ^ in front excludes, = wants the "
          "whole name");
    }
    pattern.port = *port;
    filter.patterns.push_back(std::move(pattern));
  }
  return filter;
}

std::optional<AddressRange> read_range(const Variable& variable) {
  if (!variable.is_set()) return std::nullopt;
  constexpr int mapped_bits = 96;
  const std::vector<std::string_view> words = split(variable.text(), '/');
  AddressRange range;
  const std::string address(words.empty() ? "" : words[0]);
  const bool is_v6 = inet_pton(AF_INET6, address.c_str(), range.address.data()) == 1;
  if (!is_v6) {
    range.address = {};
    range.address[10] = range.address[11] = 0xFF;
    const bool is_v4 = inet_pton(AF_INET, address.c_str(), &range.address[12]) == 1;
    if (!is_v4) variable.refuse("give an address and how many bits of it count, as 10.1.0.0/16");
  }
  const int most = is_v6 ? 128 : 32;
  const std::optional<int> bits = words.size() == 2 ? number_of(words[1]) : std::nullopt;
  if (!bits || *bits < 0 || *bits > most) {
    variable.refuse(fmt::format("give how many bits of the address count, /0 to /{}", most));
  }
  range.bits = *bits + (is_v6 ? 0 : mapped_bits);
  return range;
}

std::vector<std::uint32_t> read_labels(const Variable& variable) {
  constexpr int most = (1 << 20) - 1;
  std::vector<std::uint32_t> labels;
  for (const std::string_view word : split(variable.text(), ',')) {
    const std::optional<int> label = number_of(word);
    if (!label || *label < 0 || *label > most) {
      variable.refuse(fmt::format("give flow labels from 0 to {}, separated by commas", most));
    }
    labels.push_back(static_cast<std::uint32_t>(*label));
  }
  return labels;
}

// NCCL's words and its older numbers.
PciDistance read_level(const Variable& variable, PciDistance otherwise) {
  constexpr std::array levels{PciDistance::loc, PciDistance::pix, PciDistance::pxb,
                              PciDistance::phb, PciDistance::sys, PciDistance::sys};
  if (!variable.is_set()) return otherwise;
  const std::optional<int> number = number_of(variable.text());
  if (number && *number >= 0) return levels[std::min<std::size_t>(*number, levels.size() - 1)];
  const auto found = std::ranges::find(levels, variable.text(), to_string);
  if (found == levels.end()) variable.refuse("give LOC, PIX, PXB, PHB, SYS or 0 to 5");
  return *found;
}

std::optional<GpuWay> read_way(const Variable& variable) {
  if (!variable.is_set() || variable.text() == "auto") return std::nullopt;
  if (variable.text() == "dmabuf") return GpuWay::dma_buf;
  if (variable.text() == "peermem") return GpuWay::peermem;
  if (variable.text() != "staging") variable.refuse("give auto, dmabuf, peermem or staging");
  return GpuWay::staging;
}

PostWay read_post_way(const Variable& variable) {
  if (!variable.is_set() || variable.text() == "auto") return PostWay::where_known;
  if (variable.text() == "wr") return PostWay::extended;
  if (variable.text() != "classic") variable.refuse("give auto, wr or classic");
  return PostWay::classic;
}

GpuSettings read_gpu_settings(const std::function<const char*(const char*)>& get) {
  GpuSettings settings;
  settings.way = read_way(Variable(get, "GPU_DIRECT"));
  settings.farthest = read_level(Variable(get, "NET_GDR_LEVEL"), settings.farthest);
  int reads_in_place = -2;  // NCCL's word for leaving it to the library.
  Variable(get, "NET_GDR_READ").read(reads_in_place, -2, 1, "-2 (auto), 0 or 1, a number");
  settings.reads_in_place = reads_in_place != 0;
  Variable(get, "DMABUF_ENABLE").read(settings.uses_dma_buf, 0, 1, "0 or 1, a number");
  Variable(get, "GDR_FLUSH_DISABLE").read(settings.never_flushes, 0, 1, "0 or 1, a number");
  Variable(get, "NET_FORCE_FLUSH").read(settings.always_flushes, 0, 1, "0 or 1, a number");
  return settings;
}

// Each lane has a queue pair of its own, whatever the count, and slices are dealt over all of them.
void read_paths_per_connection(const Variable& count, const Variable& split, Settings& settings) {
  constexpr int most_of_nccl = 128;
  count.read(settings.paths_per_connection, 1, most_of_nccl, "a count,");
  settings.paths_per_connection = std::min(settings.paths_per_connection, max_paths_per_connection);
  bool is_split = true;
  split.read(is_split, 0, 1, "a switch,");
  if (!split.is_set()) return;
  log(LogLevel::info, "verbs: {}={} is not applicable: slices are always dealt over all lanes",
      split.name(), split.text());
}

std::shared_ptr<const PathTable> read_paths(const Variable& variable) {
  if (!variable.is_set()) return nullptr;
  try {
    return std::make_shared<const PathTable>(PathTable::load(variable.text()));
  } catch (const Error& error) {
    fail(error.kind(), "{}: {}", variable.name(), error.what());
  }
}

}  // namespace

bool DeviceFilter::admits(std::string_view device, int port) const {
  const auto fits = [&](const Pattern& pattern) {
    const bool is_name = is_exact ? device == pattern.name : device.starts_with(pattern.name);
    return is_name && (pattern.port < 0 || pattern.port == port);
  };
  return patterns.empty() || std::ranges::any_of(patterns, fits) != is_excluding;
}

bool AddressRange::holds(const std::array<std::uint8_t, 16>& other) const {
  for (int bit = 0; bit < bits; ++bit) {
    const std::uint8_t mask = static_cast<std::uint8_t>(0x80 >> (bit % 8));
    const auto at = static_cast<std::size_t>(bit / 8);
    if (((address[at] ^ other[at]) & mask) != 0) return false;
  }
  return true;
}

Settings read_settings(const std::function<const char*(const char*)>& get) {
  const auto variable = [&](const std::string& name) { return Variable(get, "IB_" + name); };
  Settings settings;
  settings.devices = read_filter(variable("HCA"));
  variable("GID_INDEX").read(settings.gid_index, -1, 255, "an index of the GID table, or -1,");
  variable("ROCE_VERSION_NUM").read(settings.roce_version, 1, 2, "the version of RoCE");
  const Variable family = variable("ADDR_FAMILY");
  if (family.is_set() && family.text() != "AF_INET" && family.text() != "AF_INET6") {
    family.refuse("give AF_INET or AF_INET6");
  }
  settings.wants_ipv6 = family.text() == "AF_INET6";
  settings.address_range = read_range(variable("ADDR_RANGE"));
  variable("TC").read(settings.traffic_class, 0, 255, "a traffic class");
  variable("SL").read(settings.service_level, 0, 15, "a service level");
  variable("PKEY").read(settings.pkey_index, 0, 65535, "an index of the pkey table");
  variable("TIMEOUT").read(settings.timeout, 1, 31, "an exponent: 4.096 us * 2^n,");
  variable("RETRY_CNT").read(settings.retries, 0, 7, "how often to send again");
  const Variable mtu = variable("MTU");
  mtu.read(settings.mtu_bytes, 256, 4096, "bytes, a power of two");
  if ((settings.mtu_bytes & (settings.mtu_bytes - 1)) != 0) mtu.refuse("give 256, 512 ... 4096");
  variable("RESILIENCY_PORT_FAILOVER").read(settings.fails_over, 0, 1, "a switch,");
  read_paths_per_connection(variable("QPS_PER_CONNECTION"), variable("SPLIT_DATA_ON_QPS"),
                            settings);
  settings.flow_labels = read_labels(variable("FLOW_LABELS"));
  settings.paths = read_paths(variable("PATHS"));
  settings.paths_file = variable("PATHS").text();
  variable("PCI_RELAXED_ORDERING")
      .read(settings.relaxed_ordering, 0, 2, "0 never, 1 always, 2 where it is known,");
  settings.post_way = read_post_way(variable("POST"));
  settings.gpu = read_gpu_settings(get);
  return settings;
}

Settings read_settings() {
  return read_settings([](const char* name) { return std::getenv(name); });
}

}  // namespace accl::verbs
