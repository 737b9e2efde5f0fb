#include "topology/mapping/problem.h"

#include <fmt/format.h>

#include <algorithm>

#include "accl/base/error.h"

namespace accl::topology {
namespace {

bool same_pairs(const Pattern& pattern, const Round& round) {
  return std::ranges::equal(pattern.messages, round.messages, [](const auto& a, const auto& b) {
    return a.from == index(b.from) && a.to == index(b.to);
  });
}

// Single NICs, or whole servers.
std::vector<std::vector<NicId>> units_of(const Fabric& fabric, const Condition& condition,
                                         std::uint32_t width) {
  std::vector<std::vector<NicId>> units;
  for (const NicId nic : condition.nics) {
    const bool goes_on = !units.empty() && units.back().size() < width &&
                         fabric.at(units.back().front()).server == fabric.at(nic).server;
    if (!goes_on) units.emplace_back();
    units.back().push_back(nic);
  }
  for (const std::vector<NicId>& unit : units) {
    if (unit.size() == width) continue;
    fail(ErrorKind::invalid_argument,
         "server {} takes part with {} of {} NICs; a two-level map needs all: name it in --dead, "
         "or use --algo hd",
         fabric.at(fabric.at(unit.front()).server).name, unit.size(), width);
  }
  return units;
}

}  // namespace

std::vector<Pattern> patterns_of(const Traffic& traffic) {
  std::vector<Pattern> patterns;
  double most = 0;
  for (const Round& round : traffic.rounds) {
    if (round.messages.empty()) continue;
    auto found = std::ranges::find_if(
        patterns, [&](const Pattern& pattern) { return same_pairs(pattern, round); });
    if (found == patterns.end()) {
      Pattern pattern{.messages = {}, .weight = 0};
      for (const Message& message : round.messages) {
        pattern.messages.push_back({index(message.from), index(message.to)});
      }
      found = patterns.insert(patterns.end(), std::move(pattern));
    }
    std::uint32_t largest = 0;
    for (const Message& message : round.messages) largest = std::max(largest, message.chunks);
    found->weight += double(largest) * round.repeats;
    most = std::max(most, found->weight);
  }
  for (Pattern& pattern : patterns) pattern.weight /= most;
  return patterns;
}

std::string natural_algorithm(const Fabric& fabric) {
  return fabric.planes > 1 ? "twolevel" : "hd";
}

Problem make_problem(const Fabric& fabric, const Condition& condition, const Routes& routes,
                     const std::string& algorithm, First first) {
  if (condition.nics.empty()) {
    fail(ErrorKind::invalid_argument, "{}: no NIC is left that could take part", fabric.name);
  }
  const Algorithm* const found = find_algorithm(Collective::allreduce, algorithm);
  if (found == nullptr) {
    fail(ErrorKind::invalid_argument, "--algo {}: there is no such allreduce; choose one of {}",
         algorithm, algorithm_names(Collective::allreduce));
  }
  const bool is_two_level = algorithm == "twolevel";
  const auto nics = static_cast<std::uint32_t>(fabric.servers.front().nics.size());
  Problem problem{.fabric = fabric,
                  .condition = condition,
                  .routes = routes,
                  .algorithm = algorithm,
                  .shape = {},
                  .traffic = {},
                  .patterns = {},
                  .width = is_two_level ? nics : 1,
                  .units = units_of(fabric, condition, is_two_level ? nics : 1)};
  problem.shape.size = static_cast<std::uint32_t>(condition.nics.size());
  problem.shape.width = problem.width;
  problem.shape.first = first;
  problem.traffic = traffic_of(*found, problem.shape);
  problem.patterns = patterns_of(problem.traffic);
  return problem;
}

Seats seats_of(const Problem& problem, const std::vector<std::uint32_t>& unit_order) {
  Seats seats;
  for (const std::uint32_t unit : unit_order) {
    const std::vector<NicId>& nics = problem.units[unit];
    seats.nics.insert(seats.nics.end(), nics.begin(), nics.end());
  }
  return seats;
}

}  // namespace accl::topology
