#include "bench/perf/explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <span>
#include <tuple>
#include <vector>

#include "accl/base/error.h"
#include "accl/base/units.h"
#include "accl/launch.h"
#include "algorithms/print.h"
#include "algorithms/selection.h"
#include "bench/perf/cases.h"
#include "topology/contention/traffic.h"
#include "topology/mapping/rank_map.h"

namespace accl::perf {
namespace {

// Whole plans beyond this are a book; one position's steps say the same.
constexpr std::uint32_t most_positions = 16;
constexpr std::uint32_t most_ranks = 1024;

std::string algorithm_for(const Options& options, const SelectionTable& table, const Case& row,
                          std::uint32_t ranks) {
  if (options.algorithm != "auto") return catalog_algorithm(options);
  const std::string transport = options.transport == "auto" ? "shm" : options.transport;
  const std::uint64_t bytes =
      std::max(send_elements(row, ranks), recv_elements(row, ranks)) * size_of(row.type);
  return table.choose(row.collective, ranks, bytes, transport).algorithm;
}

Shape shape_of(const Options& options, std::uint32_t ranks) {
  Shape shape;
  shape.size = ranks;
  shape.width = ranks;  // As local ranks run it: all on one host.
  shape.first = options.first.value_or(First::near);
  const auto root = static_cast<std::uint32_t>(std::max<std::int64_t>(options.root, 0));
  shape.root = Position{root};
  if (options.map_path.empty()) return shape;
  const topology::RankMap map = topology::load_rank_map(options.map_path, ranks);
  shape.width = map.width;
  if (!options.first && map.first == "far") shape.first = First::far;
  const std::vector<Rank> order = map.order();
  const auto seat = std::ranges::find(order, Rank{root});
  shape.root = Position{static_cast<std::uint32_t>(seat - order.begin())};
  return shape;
}

PlanSet plan_of(const Options& options, const std::string& name, const Shape& shape) {
  const Algorithm* algorithm = find_algorithm(options.collective, name);
  if (algorithm == nullptr || !algorithm->fits(shape)) {
    fail(ErrorKind::invalid_argument,
         "--algo {}: does not serve {} over {} ranks; choose one of {}", name,
         name_of(options.collective), shape.size, algorithm_names(options.collective));
  }
  return make_plan_set(*algorithm, shape);
}

// Messages on the cables between switches, as the map places its seats: the most that share two
// switches and a lane, step by step. accl-topo explain counts the same over the whole fabric. The
// map knows no cables, so where a message goes over a third switch only accl-topo can tell.
std::string describe_load(const topology::RankMap& map, const topology::Traffic& traffic) {
  using Cable = std::tuple<std::string, std::string, std::uint32_t>;
  std::vector<std::uint32_t> steps;
  for (const topology::Round& round : traffic.rounds) {
    std::map<Cable, std::uint32_t> flows;
    std::uint32_t most = 0;
    for (const topology::Message& message : round.messages) {
      const topology::Seat& from = map.seats[index(message.from)];
      const topology::Seat& to = map.seats[index(message.to)];
      const bool is_inside = map.algorithm == "twolevel" && from.host == to.host;
      if (from.at == to.at || is_inside) continue;
      if (from.side == to.side) return "messages go over a third switch: see accl-topo explain\n";
      most = std::max(most, ++flows[{from.at, to.at, from.lane_to(to.rank)}]);
    }
    steps.insert(steps.end(), round.repeats, most);
  }
  constexpr std::size_t shown = 64;
  std::string text =
      fmt::format("most messages on a cable, by step: {}{}\n",
                  fmt::join(std::span(steps).first(std::min(shown, steps.size())), " "),
                  steps.size() > shown ? " ..." : "");
  return text;
}

std::string describe_map(const Options& options, const std::string& name, const Shape& shape) {
  if (options.map_path.empty()) return {};
  const topology::RankMap map = topology::load_rank_map(options.map_path, shape.size);
  if (map.seats.front().at.empty()) return {};  // It says nothing of switches.
  const Algorithm* const algorithm = find_algorithm(options.collective, name);
  return describe_load(map, topology::traffic_of(*algorithm, shape));
}

std::string describe_plan(const Options& options, const std::string& name, const Shape& shape) {
  const PlanSet plan = plan_of(options, name, shape);
  std::string text =
      fmt::format("\n{}: {}\n", name, find_algorithm(options.collective, name)->brief);
  text += print_summary(plan) + describe_map(options, name, shape);
  if (shape.size <= most_positions) return text + print_traffic(plan) + print_plan(plan);
  return text + "position 0\n" + print_steps(plan.positions.front());
}

}  // namespace

std::string explain(const Options& options, std::uint32_t ranks) {
  if (ranks > most_ranks) {
    fail(ErrorKind::invalid_argument, "--explain shows plans of up to {} ranks: give fewer --ranks",
         most_ranks);
  }
  const Shape shape = shape_of(options, ranks);
  const std::string rules = read_selection({});
  const SelectionTable table =
      rules.empty() ? SelectionTable::built_in() : SelectionTable::parse(rules, "ACCL_SELECTION");
  std::string text =
      fmt::format("{} over {} ranks; D is the whole vector\n{:>12}  {:<12} {:>14}\n",
                  name_of(options.collective), ranks, "size", "algorithm", "sent by a rank");
  std::vector<std::string> names;
  Options one = options;  // Types and operations change no plan.
  one.types.resize(1);
  one.ops.resize(1);
  one.root = std::max<std::int64_t>(one.root, 0);
  double share = 0;
  for (const Case& row : make_cases(one, ranks)) {
    const std::string name = algorithm_for(options, table, row, ranks);
    if (std::ranges::find(names, name) == names.end() || names.back() != name) {
      const PlanSet plan = plan_of(options, name, shape);
      share = static_cast<double>(busiest(cost_of(plan).sent).chunks) / plan.chunks;
    }
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
    const std::uint64_t size = size_bytes(row, ranks);
    text +=
        fmt::format("{:>12}  {:<12} {:>14.0f}\n", size, name, share * static_cast<double>(size));
  }
  for (const std::string& name : names) text += describe_plan(options, name, shape);
  return text;
}

}  // namespace accl::perf
