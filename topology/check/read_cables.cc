#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "accl/base/error.h"
#include "topology/cabling/csv.h"
#include "topology/check/readers.h"

namespace accl::topology {
namespace {

// The columns of a header, by name.
class Columns {
 public:
  explicit Columns(const CsvRow& header) : header_(header) {}

  std::optional<std::size_t> find(std::string_view name) const {
    const auto found = std::ranges::find(header_.fields, name);
    if (found == header_.fields.end()) return {};
    return static_cast<std::size_t>(found - header_.fields.begin());
  }

 private:
  const CsvRow& header_;
};

struct Layout {
  std::size_t a_device, a_port, b_device, b_port;
  std::optional<std::size_t> gbps, status;
};

Layout layout_of(const CsvRow& header, const std::string& path) {
  const Columns columns(header);
  const bool is_netbox = columns.find("side_a_device").has_value();
  const auto column = [&](std::string_view ours, std::string_view netbox) {
    const std::string_view name = is_netbox ? netbox : ours;
    const auto found = columns.find(name);
    if (found) return *found;
    fail(
        ErrorKind::invalid_argument,
        "{}:{}: the header lacks '{}'; a list of cables has a_device, a_port, b_device, b_port, or "
        "side_a_device, side_a_name, side_b_device, side_b_name as NetBox writes it",
        path, header.line, name);
  };
  return {.a_device = column("a_device", "side_a_device"),
          .a_port = column("a_port", "side_a_name"),
          .b_device = column("b_device", "side_b_device"),
          .b_port = column("b_port", "side_b_name"),
          .gbps = columns.find("gbps"),
          .status = columns.find("status")};
}

std::string field(const CsvRow& row, std::optional<std::size_t> column) {
  return column && *column < row.fields.size() ? row.fields[*column] : "";
}

double speed_of(const std::string& text, const std::string& place) {
  if (text.empty()) return 0;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool is_number = error == std::errc{} && end == text.data() + text.size();
  if (is_number && value >= 0 && value <= 1e6) return value;
  fail(ErrorKind::invalid_argument, "{}: gbps '{}' is no number of gigabits a second", place, text);
}

bool is_gone(const std::string& status) {
  return status == "decommissioning" || status == "removed";
}

}  // namespace

Observation parse_cables(std::string_view text, const std::string& path) {
  const std::vector<CsvRow> rows = parse_csv(text, path);
  if (rows.empty()) fail(ErrorKind::invalid_argument, "{}: is empty; it needs a header", path);
  const Layout layout = layout_of(rows[0], path);
  Observation seen{.source = "list of cables", .links = {}, .reporters = {}};
  for (std::size_t i = 1; i < rows.size(); ++i) {
    const CsvRow& row = rows[i];
    if (is_gone(field(row, layout.status))) continue;
    ObservedLink link{.a = {field(row, layout.a_device), field(row, layout.a_port)},
                      .b = {field(row, layout.b_device), field(row, layout.b_port)},
                      .gbps = 0,
                      .speed = field(row, layout.gbps),
                      .place = fmt::format("{}:{}", path, row.line)};
    for (const NamedEnd* end : {&link.a, &link.b}) {
      if (!end->device.empty() && !end->port.empty()) continue;
      fail(ErrorKind::invalid_argument,
           "{}: an end lacks its device or port; remove the row if the cable is not there",
           link.place);
    }
    link.gbps = speed_of(link.speed, link.place);
    seen.reporters.insert({link.a.device, link.b.device});
    seen.links.push_back(std::move(link));
  }
  return seen;
}

}  // namespace accl::topology
