#include "topology/tool/draw.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace accl::topology {
namespace {

constexpr std::size_t most_switches = 64;

char mark_of(double flows) {
  const auto count = static_cast<int>(std::ceil(flows - 1e-9));
  if (count <= 0) return '.';
  return count < 10 ? static_cast<char>('0' + count) : '#';
}

class Grid {
 public:
  Grid(std::size_t rows, std::size_t columns) : columns_(columns), flows_(rows * columns) {}

  void put(std::size_t row, std::size_t column, double flows) {
    double& at = flows_[row * columns_ + column];
    at = std::max(at, flows);
  }
  std::string line(std::size_t row) const {
    std::string text;
    for (std::size_t i = 0; i < columns_; ++i) text += mark_of(flows_[row * columns_ + i]);
    return text;
  }

 private:
  std::size_t columns_;
  std::vector<double> flows_;
};

}  // namespace

std::string draw_round(const Fabric& fabric, const RoutedRound& round) {
  std::map<NodeId, std::size_t> rows;
  std::map<NodeId, std::size_t> columns;
  std::vector<std::string> names;
  for (const Switch& one : fabric.switches) {
    if (one.side == Side::none) return {};
    if (one.side == Side::upper) names.push_back(one.name);
    auto& numbers = one.side == Side::upper ? rows : columns;
    numbers.emplace(one.node, numbers.size());
  }
  if (rows.empty() || columns.empty()) return {};
  if (std::max(rows.size(), columns.size()) > most_switches) return {};
  Grid down(rows.size(), columns.size());
  Grid up(rows.size(), columns.size());
  const std::vector<double> flows = flows_by_link(fabric, round);
  for (std::uint32_t i = 0; i < flows.size(); ++i) {
    const Link& link = fabric.graph.link(LinkId{i});
    if (rows.contains(link.from) && columns.contains(link.to)) {
      down.put(rows[link.from], columns[link.to], flows[i]);
    } else if (columns.contains(link.from) && rows.contains(link.to)) {
      up.put(rows[link.to], columns[link.from], flows[i]);
    }
  }
  std::size_t width = 8;
  for (const std::string& name : names) width = std::max(width, name.size());
  std::string text = fmt::format("  {:<{}}  {:<{}}  {}\n", "", width, "down",
                                 std::max<std::size_t>(4, columns.size()), "up");
  for (std::size_t row = 0; row < rows.size(); ++row) {
    text += fmt::format("  {:<{}}  {:<4}  {}\n", names[row], width, down.line(row), up.line(row));
  }
  return text;
}

}  // namespace accl::topology
