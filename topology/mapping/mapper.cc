#include "topology/mapping/mapper.h"

#include <algorithm>
#include <numeric>

#include "topology/mapping/closed_form.h"
#include "topology/mapping/search.h"

namespace accl::topology {
namespace {

bool has_lanes(const Problem& problem) { return problem.fabric.cables_per_pair > 1; }

// Lanes by unit, spread over the positions of the unit.
std::vector<std::uint32_t> by_position(const Problem& problem,
                                       const std::vector<std::uint32_t>& lanes) {
  std::vector<std::uint32_t> all;
  for (const std::uint32_t lane : lanes) all.insert(all.end(), problem.width, lane);
  return all;
}

void count_loads(const Problem& problem, Mapping& mapping) {
  Seats& seats = mapping.seats;
  if (seats.lanes.empty() && has_lanes(problem)) search_lanes(problem, seats);
  if (seats.lanes.empty()) seats.lanes.assign(seats.size(), 0);
  const bool is_pinned = has_lanes(problem) || problem.fabric.kind == FabricKind::leaf_spine;
  if (is_pinned) name_lanes(problem, seats);
  mapping.rounds = loads_of(problem.fabric, problem.condition, problem.routes, seats,
                            problem.traffic, sending_of(problem.algorithm));
}

// Orders that need no search and are hard to beat where switches do not fall into two layers.
std::vector<Seats> plain_orders(const Problem& problem) {
  std::vector<Seats> orders;
  std::vector<std::uint32_t> units(problem.units.size());
  std::iota(units.begin(), units.end(), 0u);
  orders.push_back(seats_of(problem, units));
  std::ranges::stable_sort(units, {}, [&](std::uint32_t unit) {
    return problem.switch_of(problem.units[unit].front());
  });
  orders.push_back(seats_of(problem, units));
  return orders;
}

// The search's map, or a plain order if that costs less.
Mapping best_of_search(const Problem& problem, std::uint64_t moves, const Mapping& start) {
  Mapping best = start;
  const SearchResult found = search_seats(problem, moves > 0 ? moves : default_moves(problem));
  best.seats = seats_of(problem, found.unit_order);
  count_loads(problem, best);
  if (best.is_contention_free()) return best;
  for (Seats& seats : plain_orders(problem)) {
    Mapping plain = start;
    plain.method = "plain order";
    plain.seats = std::move(seats);
    count_loads(problem, plain);
    if (plain.burden() < best.burden()) best = std::move(plain);
  }
  return best;
}

Mapping map_problem(const Problem& problem, std::uint64_t moves) {
  Mapping mapping{.algorithm = problem.algorithm,
                  .shape = problem.shape,
                  .seats = {},
                  .method = "search",
                  .rounds = {}};
  const std::optional<ClosedForm> form = closed_form(problem);
  if (!form) return best_of_search(problem, moves, mapping);
  mapping.method = form->name;
  mapping.seats = seats_of(problem, form->unit_order);
  mapping.seats.lanes = by_position(problem, form->lanes);
  count_loads(problem, mapping);
  if (mapping.is_contention_free()) return mapping;
  Mapping other = best_of_search(problem, moves,
                                 {.algorithm = mapping.algorithm,
                                  .shape = mapping.shape,
                                  .seats = {},
                                  .method = "search",
                                  .rounds = {}});
  return other.burden() < mapping.burden() ? other : mapping;
}

}  // namespace

double Mapping::burden() const {
  double burden = 0;
  for (const RoundLoad& round : rounds) {
    burden += std::max(1.0, round.between_switches) * round.chunks * round.repeats;
  }
  return burden;
}

Sending sending_of(const std::string& algorithm) {
  return {.qps = 1, .inside_servers = algorithm != "twolevel"};
}

std::vector<RoundLoad> loads_of(const Fabric& fabric, const Condition& condition,
                                const Routes& routes, const Seats& seats, const Traffic& traffic,
                                const Sending& sending) {
  std::vector<RoundLoad> loads;
  for (const Round& round : traffic.rounds) {
    loads.push_back(load_of(fabric, condition, route_round(fabric, routes, seats, round, sending)));
    loads.back().repeats = round.repeats;
  }
  return loads;
}

Mapping map_ranks(const Fabric& fabric, const Condition& condition, const MapOptions& options) {
  const Routes routes(fabric, condition);
  const std::string algorithm =
      options.algorithm.empty() ? natural_algorithm(fabric) : options.algorithm;
  const auto with = [&](First first) {
    return map_problem(make_problem(fabric, condition, routes, algorithm, first), options.moves);
  };
  if (options.first) return with(*options.first);
  Mapping far =
      with(First::far);  // Its chunks are runs of memory: the better one if both are free.
  if (far.is_contention_free()) return far;
  Mapping near = with(First::near);
  return near.burden() < far.burden() ? near : far;
}

}  // namespace accl::topology
