#include <fmt/format.h>

#include <array>
#include <cctype>
#include <charconv>
#include <map>
#include <optional>
#include <utility>

#include "accl/base/error.h"
#include "topology/check/readers.h"

namespace accl::topology {
namespace {

constexpr std::uint32_t max_port = 65535;

// One line, taken from the left.
class Scanner {
 public:
  Scanner(std::string_view line, std::string place) : rest_(line), place_(std::move(place)) {}

  bool is_next(char c) {
    skip_space();
    return !rest_.empty() && rest_.front() == c;
  }
  bool is_at_end() {
    skip_space();
    return rest_.empty();
  }
  std::string_view rest() {
    skip_space();
    return rest_;
  }

  // What stands between the two marks, without them.
  std::string_view between(char open, char close) {
    if (!is_next(open)) complain(fmt::format("a '{}' is missing before '{:.40}'", open, rest_));
    const std::size_t end = rest_.find(close, 1);
    if (end == std::string_view::npos) complain(fmt::format("a '{}' is missing at the end", close));
    const std::string_view inside = rest_.substr(1, end - 1);
    rest_.remove_prefix(end + 1);
    return inside;
  }

  std::uint32_t port() {
    const std::string_view text = between('[', ']');
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || value > max_port) {
      complain(fmt::format("'{:.40}' is no number of a port", text));
    }
    return value;
  }

  // To the next space.
  std::string_view word() {
    skip_space();
    std::size_t end = 0;
    while (end < rest_.size() && !is_space(rest_[end])) ++end;
    const std::string_view found = rest_.substr(0, end);
    rest_.remove_prefix(end);
    return found;
  }

  [[noreturn]] void complain(const std::string& what) const {
    fail(ErrorKind::invalid_argument, "{}: {}; is it the output of ibnetdiscover?", place_, what);
  }

 private:
  static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r'; }
  void skip_space() {
    while (!rest_.empty() && is_space(rest_.front())) rest_.remove_prefix(1);
  }

  std::string_view rest_;
  std::string place_;
};

struct Device {
  bool is_switch = false;
  std::string description;
};

struct PortLine {
  std::string near;  // Ids of devices.
  std::uint32_t near_port = 0;
  std::string far;
  std::uint32_t far_port = 0;
  std::string speed;
  int line = 0;
};

struct File {
  std::map<std::string, Device, std::less<>> devices;
  std::vector<PortLine> ports;
};

// The comment behind a node or a far end: `# "description" ...`; the description may hold quotes of
// no kind but may hold '#'.
std::string_view description_in(Scanner& scanner) {
  if (!scanner.is_next('#')) return {};
  scanner.word();
  return scanner.is_next('"') ? scanner.between('"', '"') : std::string_view{};
}

class Reader {
 public:
  Reader(std::string_view text, const std::string& path) : text_(text), path_(path) {}

  File read() {
    int line = 0;
    while (!text_.empty()) {
      const std::size_t end = std::min(text_.find('\n'), text_.size());
      read_line(text_.substr(0, end), ++line);
      text_.remove_prefix(std::min(end + 1, text_.size()));
    }
    if (file_.devices.empty()) {
      fail(ErrorKind::invalid_argument,
           "{}: holds no line that begins with Switch or Ca; is it the output of ibnetdiscover?",
           path_);
    }
    return std::move(file_);
  }

 private:
  void read_line(std::string_view line, int number) {
    Scanner scanner(line, fmt::format("{}:{}", path_, number));
    if (scanner.is_at_end() || scanner.is_next('#')) return;
    if (scanner.is_next('[')) {
      read_port(scanner, number);
      return;
    }
    const std::string_view first = scanner.word();
    if (first == "DDR" || first.find('=') != std::string_view::npos) return;  // vendid= and so on.
    const bool is_switch = first == "Switch";
    if (!is_switch && first != "Ca" && first != "Hca" && first != "Rt") {
      scanner.complain(fmt::format("'{:.40}' begins no line that is known", first));
    }
    scanner.word();  // How many ports.
    open_ = std::string(scanner.between('"', '"'));
    const std::string_view description = description_in(scanner);
    const auto [entry, is_new] = file_.devices.emplace(
        open_, Device{.is_switch = is_switch, .description = std::string(description)});
    if (!is_new) scanner.complain(fmt::format("node \"{}\" comes a second time", open_));
  }

  void read_port(Scanner& scanner, int number) {
    if (open_.empty()) scanner.complain("a port comes before the first node");
    PortLine port{.near = open_,
                  .near_port = scanner.port(),
                  .far = {},
                  .far_port = 0,
                  .speed = {},
                  .line = number};
    if (scanner.is_next('(')) scanner.between('(', ')');
    port.far = std::string(scanner.between('"', '"'));
    port.far_port = scanner.port();
    if (scanner.is_next('(')) scanner.between('(', ')');
    description_in(scanner);
    while (!scanner.is_at_end()) port.speed = std::string(scanner.word());
    if (gbps_of_infiniband(port.speed) == 0) port.speed.clear();
    file_.ports.push_back(std::move(port));
  }

  std::string_view text_;
  const std::string& path_;
  std::string open_;
  File file_;
};

// "MF0;NAME:MODEL/U1" is how managed switches describe themselves.
std::string switch_name(const std::string& description) {
  const std::size_t semicolon = description.find(';');
  if (!description.starts_with("MF0") || semicolon == std::string::npos) return description;
  const std::size_t colon = description.find(':', semicolon);
  return description.substr(semicolon + 1,
                            colon == std::string::npos ? std::string::npos : colon - semicolon - 1);
}

// Of an adapter the host, and the NIC as port; its own port only where it is not the first.
NamedEnd end_of(const File& file, const std::string& id, std::uint32_t port) {
  const auto found = file.devices.find(id);
  if (found == file.devices.end()) return {id, fmt::format("{}", port)};
  const Device& device = found->second;
  const std::string& text = device.description;
  if (device.is_switch) {
    return {text.empty() ? id : switch_name(text), fmt::format("{}", port)};
  }
  const std::size_t space = text.find(' ');
  if (space == std::string::npos) return {text.empty() ? id : text, fmt::format("{}", port)};
  const std::string nic = text.substr(space + 1);
  return {text.substr(0, space), port == 1 ? nic : fmt::format("{}/{}", nic, port)};
}

}  // namespace

double gbps_of_infiniband(std::string_view speed) {
  constexpr std::array<std::pair<std::string_view, double>, 9> lanes{{{"SDR", 2.5},
                                                                      {"DDR", 5},
                                                                      {"QDR", 10},
                                                                      {"FDR10", 10},
                                                                      {"FDR", 14},
                                                                      {"EDR", 25},
                                                                      {"HDR", 50},
                                                                      {"NDR", 100},
                                                                      {"XDR", 200}}};
  const std::size_t mark = speed.find('x');
  if (mark == std::string_view::npos || mark == 0) return 0;
  std::uint32_t width = 0;
  const auto [end, error] = std::from_chars(speed.data(), speed.data() + mark, width);
  if (error != std::errc{} || end != speed.data() + mark || width > 12) return 0;
  for (const auto& [name, gbps] : lanes) {
    if (speed.substr(mark + 1) == name) return gbps * width;
  }
  return 0;
}

Observation parse_ibnetdiscover(std::string_view text, const std::string& path) {
  const File file = Reader(text, path).read();
  using IbEnd = std::pair<std::string, std::uint32_t>;
  std::map<std::pair<IbEnd, IbEnd>, std::size_t> known;
  Observation seen{.source = "ibnetdiscover", .links = {}, .reporters = {}};
  for (const PortLine& port : file.ports) {
    const IbEnd near{port.near, port.near_port};
    const IbEnd far{port.far, port.far_port};
    const auto [entry, is_new] = known.emplace(std::minmax(near, far), seen.links.size());
    if (!is_new) continue;
    seen.links.push_back({.a = end_of(file, port.near, port.near_port),
                          .b = end_of(file, port.far, port.far_port),
                          .gbps = gbps_of_infiniband(port.speed),
                          .speed = port.speed,
                          .place = fmt::format("{}:{}", path, port.line)});
  }
  for (const auto& [id, device] : file.devices) seen.reporters.insert(end_of(file, id, 1).device);
  return seen;
}

IbCounts count_ibnetdiscover(std::string_view text, const std::string& path) {
  const File file = Reader(text, path).read();
  IbCounts counts{.switches = 0, .adapters = 0, .link_ends = file.ports.size()};
  for (const auto& [id, device] : file.devices) {
    ++(device.is_switch ? counts.switches : counts.adapters);
  }
  return counts;
}

}  // namespace accl::topology
