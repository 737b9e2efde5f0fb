#include "topology/mapping/study.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>

#include "accl/base/error.h"
#include "topology/fabric/spec.h"

namespace accl::topology {
namespace {

struct Baseline {
  const char* order;
  const char* algorithm;
  First first;
};

constexpr std::array<Baseline, 6> baselines{{{"sorted", "hd", First::near},
                                             {"sorted", "hd", First::far},
                                             {"shuffled", "hd", First::near},
                                             {"sorted", "ring", First::near},
                                             {"by switch", "hd", First::near},
                                             {"by switch", "ring", First::near}}};
constexpr std::size_t rival_baselines = 4;  // There, servers are sorted by switch.

// With planes of its own for every NIC of a server, only a two-level plan has paths; that goes by
// whole servers.
std::string suited(const Fabric& fabric, const std::string& algorithm) {
  return fabric.planes > 1 && algorithm == "hd" ? "twolevel" : algorithm;
}

Seats seats_for(const Fabric& fabric, const Baseline& baseline, const Condition& condition,
                std::uint64_t seed) {
  const std::string_view order = baseline.order;
  if (order == "by switch") return switch_by_switch(fabric, condition);
  return order == "sorted" ? sorted_seats(condition) : shuffled_seats(condition, seed);
}

// A baseline that cannot be counted says why and has no figures.
Study try_baseline(const Fabric& fabric, const Condition& condition, const Baseline& baseline,
                   const StudyOptions& options) {
  Study result;
  try {
    result = study(fabric, condition, suited(fabric, baseline.algorithm), baseline.first,
                   seats_for(fabric, baseline, condition, options.seed), options);
  } catch (const Error& error) {
    result.note = error.what();
  }
  result.order = baseline.order;
  result.algorithm = baseline.algorithm;
  result.first = baseline.first;
  result.fabric = fabric.name;
  return result;
}

Shape shape_for(const Fabric& fabric, const std::string& algorithm, std::uint32_t size,
                First first) {
  Shape shape;
  shape.size = size;
  shape.first = first;
  const auto nics = static_cast<std::uint32_t>(fabric.servers.front().nics.size());
  shape.width = algorithm == "twolevel" ? nics : 1;
  return shape;
}

}  // namespace

double Study::most() const {
  double most = 0;
  for (const RoundLoad& round : rounds) most = std::max(most, round.between_switches);
  return most;
}

double Study::bus_bandwidth(std::uint64_t bytes) const {
  const double n = seats.size();
  return seconds > 0 ? 2 * (n - 1) / n * static_cast<double>(bytes) / seconds : 0;
}

Study study(const Fabric& fabric, const Condition& condition, const std::string& algorithm,
            First first, const Seats& seats, const StudyOptions& options) {
  const Algorithm* const found = find_algorithm(Collective::allreduce, algorithm);
  if (found == nullptr) {
    fail(ErrorKind::invalid_argument, "--algo {}: there is no such allreduce; choose one of {}",
         algorithm, algorithm_names(Collective::allreduce));
  }
  const Shape shape = shape_for(fabric, algorithm, seats.size(), first);
  if (!found->fits(shape)) {
    fail(ErrorKind::invalid_argument, "--algo {}: does not serve {} ranks, {} a server", algorithm,
         shape.size, shape.width);
  }
  const Routes routes(fabric, condition, options.seed);
  Sending sending = sending_of(algorithm);
  sending.qps = options.qps;
  Study result{.order = {},
               .algorithm = algorithm,
               .first = first,
               .fabric = fabric.name,
               .note = {},
               .seats = seats,
               .traffic = traffic_of(*found, shape),
               .rounds = {}};
  const double chunk_bytes = static_cast<double>(options.bytes) / result.traffic.chunks;
  for (const Round& round : result.traffic.rounds) {
    const RoutedRound routed = route_round(fabric, routes, seats, round, sending);
    result.rounds.push_back(load_of(fabric, condition, routed));
    result.rounds.back().repeats = round.repeats;
    const RoundTime time = time_of(fabric, routed, chunk_bytes);
    result.seconds += time.seconds * round.repeats;
    result.alone_seconds += time.alone_seconds * round.repeats;
  }
  return result;
}

Seats sorted_seats(const Condition& condition) {
  return {.nics = condition.nics, .lanes = {}, .own_lanes = {}};
}

Seats switch_by_switch(const Fabric& fabric, const Condition& condition) {
  Seats seats = sorted_seats(condition);
  std::ranges::stable_sort(seats.nics, {}, [&](NicId id) { return fabric.at(id).at; });
  return seats;
}

Seats shuffled_seats(const Condition& condition, std::uint64_t seed) {
  Seats seats = sorted_seats(condition);
  std::mt19937_64 random(seed);
  for (std::size_t i = seats.nics.size(); i > 1; --i) {  // std::shuffle differs between libraries.
    std::swap(seats.nics[i - 1], seats.nics[random() % i]);
  }
  return seats;
}

Fabric rival_of(const Fabric& fabric, std::uint32_t nics) {
  const std::size_t switches =
      std::ranges::count_if(fabric.switches, [](const Switch& s) { return s.side != Side::none; });
  const auto leaf_like = static_cast<std::uint32_t>(std::max<std::size_t>(1, switches));
  const std::uint32_t fill = std::max(1u, (nics + leaf_like - 1) / leaf_like);
  const std::uint32_t leaves = (nics + fill - 1) / fill;
  double gbps = 0;
  for (const Cable& cable : fabric.cables) gbps = std::max(gbps, cable.gbps);
  const std::uint32_t last = nics - (leaves - 1) * fill;
  std::string fills = fmt::format("[");
  for (std::uint32_t i = 0; i < leaves; ++i) {
    fills += fmt::format("{}{}", i > 0 ? "," : "", i + 1 < leaves ? fill : last);
  }
  const std::string text = fmt::format(
      "name: leaf-spine\ntopology: leaf-spine\nservers: {{count: {}, nics: 1}}\n"
      "leaf: {{switches: {}, nics: {}]}}\nspine: {{switches: {}}}\ngbps: {}\n"
      "latency: {{start_us: {}, hop_us: {}}}\n",
      nics, leaves, fills, fill, gbps, fabric.start_seconds * 1e6, fabric.hop_seconds * 1e6);
  Section spec = Section::parse(text, "leaf-spine");
  return read_fabric(spec);
}

std::vector<Study> studies(const Fabric& fabric, const Condition& condition, const MapOptions& map,
                           const StudyOptions& options) {
  std::vector<Study> list;
  const Mapping mapping = map_ranks(fabric, condition, map);
  StudyOptions pinned = options;  // A lane is one cable: more QPs would share it.
  pinned.qps = 1;
  list.push_back(
      study(fabric, condition, mapping.algorithm, mapping.shape.first, mapping.seats, pinned));
  list.back().order = "hdrm";
  list.back().note = mapping.method;
  for (const Baseline& baseline : baselines) {
    list.push_back(try_baseline(fabric, condition, baseline, options));
  }
  const auto nics = static_cast<std::uint32_t>(condition.nics.size());
  const Fabric rival = rival_of(fabric, nics);
  for (const Baseline& baseline : std::span(baselines).first(rival_baselines)) {
    list.push_back(try_baseline(rival, whole(rival), baseline, options));
  }
  return list;
}

}  // namespace accl::topology
