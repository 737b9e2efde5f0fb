#include "topology/mapping/study.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <set>

#include "accl/base/error.h"
#include "topology/fabric/spec.h"

namespace accl::topology {
namespace {

struct Baseline {
  const char* order;
  const char* algorithm;
  First first;
};

constexpr std::array<Baseline, 7> baselines{{{"sorted", "hd", First::near},
                                             {"sorted", "hd", First::far},
                                             {"shuffled", "hd", First::near},
                                             {"sorted", "ring", First::near},
                                             {"by switch", "hd", First::near},
                                             {"by switch", "ring", First::near},
                                             {"alternating", "ring", First::near}}};
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
  if (order == "alternating") return alternating_seats(fabric, condition);
  return order == "sorted" ? sorted_seats(condition) : shuffled_seats(fabric, condition, seed);
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
  result.algorithm = suited(fabric, baseline.algorithm);
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

void check_paced(const Traffic& traffic, const StudyOptions& options) {
  const std::uint64_t flows = traffic.message_count() * options.qps * options.slicing.slices;
  if (flows <= max_paced_messages) return;
  fail(ErrorKind::invalid_argument,
       "--steps free: {} messages are more than the {} that can be followed one by one; leave it "
       "out, or take fewer ranks, --qps or --slices",
       flows, max_paced_messages);
}

}  // namespace

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
  Study result{.order = {},
               .algorithm = algorithm,
               .first = first,
               .fabric = fabric.name,
               .note = {},
               .options = options,
               .shape = shape,
               .seats = seats,
               .traffic = traffic_of(*found, shape),
               .rounds = {}};
  const bool is_free = options.steps == Steps::free;
  if (is_free) check_paced(result.traffic, options);
  const Sending sending = sending_of(result);
  const double chunk_bytes = static_cast<double>(options.bytes) / result.traffic.chunks;
  std::vector<RoutedRound> kept;
  for (const Round& round : result.traffic.rounds) {
    RoutedRound routed = route_round(fabric, routes, seats, round, sending);
    result.rounds.push_back(load_of(fabric, condition, routed));
    result.rounds.back().repeats = round.repeats;
    if (is_free) {
      kept.push_back(std::move(routed));
      continue;
    }
    const RoundTime time = time_of(fabric, routed, chunk_bytes);
    result.seconds += time.seconds * round.repeats;
    result.alone_seconds += time.alone_seconds * round.repeats;
  }
  if (!is_free) return result;
  result.seconds = paced_seconds(fabric, result.traffic, kept, chunk_bytes, options.slicing);
  result.alone_seconds =
      paced_seconds(fabric, result.traffic, kept, chunk_bytes, options.slicing, true);
  return result;
}

Sending sending_of(const Study& study) {
  Sending sending = sending_of(study.algorithm);
  sending.qps = study.options.qps;
  sending.seen = study.options.seen;
  return sending;
}

Seats sorted_seats(const Condition& condition) {
  return {.nics = condition.nics, .lanes = {}, .own_lanes = {}};
}

Seats switch_by_switch(const Fabric& fabric, const Condition& condition) {
  Seats seats = sorted_seats(condition);
  std::ranges::stable_sort(seats.nics, {}, [&](NicId id) { return fabric.at(id).at; });
  return seats;
}

// Upper NICs switch by switch, and between them lower ones from one switch after the other.
Seats alternating_seats(const Fabric& fabric, const Condition& condition) {
  std::vector<NicId> upper;
  std::vector<std::pair<std::size_t, NicId>> lower;  // By turn.
  std::map<SwitchId, std::size_t> turns;
  for (const NicId id : switch_by_switch(fabric, condition).nics) {
    const SwitchId at = fabric.at(id).at;
    if (fabric.at(at).side != Side::lower) upper.push_back(id);
    if (fabric.at(at).side == Side::lower) lower.emplace_back(turns[at]++, id);
  }
  std::ranges::stable_sort(lower, {}, &std::pair<std::size_t, NicId>::first);
  Seats seats;
  for (std::size_t i = 0; i < std::max(upper.size(), lower.size()); ++i) {
    if (i < upper.size()) seats.nics.push_back(upper[i]);
    if (i < lower.size()) seats.nics.push_back(lower[i].second);
  }
  return seats;
}

Seats shuffled_seats(const Fabric& fabric, const Condition& condition, std::uint64_t seed) {
  const Seats sorted = sorted_seats(condition);
  const std::size_t width = fabric.planes > 1 ? fabric.servers.front().nics.size() : 1;
  std::vector<std::size_t> units(sorted.nics.size() / width);
  std::iota(units.begin(), units.end(), std::size_t{0});
  std::mt19937_64 random(seed);
  for (std::size_t i = units.size(); i > 1; --i) {  // std::shuffle differs between libraries.
    std::swap(units[i - 1], units[random() % i]);
  }
  Seats seats;
  for (const std::size_t unit : units) {
    const auto first = sorted.nics.begin() + static_cast<std::ptrdiff_t>(unit * width);
    seats.nics.insert(seats.nics.end(), first, first + static_cast<std::ptrdiff_t>(width));
  }
  return seats;
}

Fabric rival_of(const Fabric& fabric, std::uint32_t nics) {
  std::set<SwitchId> edge;  // Switches with servers.
  for (const Nic& nic : fabric.nics) edge.insert(nic.at);
  nics /= fabric.planes;
  const auto leaf_like =
      static_cast<std::uint32_t>(std::max<std::size_t>(1, edge.size() / fabric.planes));
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
      "name: leaf-spine\ntopology: leaf-spine\nplanes: {}\nservers: {{count: {}, nics: {}}}\n"
      "leaf: {{switches: {}, nics: {}]}}\nspine: {{switches: {}}}\ngbps: {}\n"
      "latency: {{start_us: {}, hop_us: {}}}\n",
      fabric.planes, nics, fabric.planes, leaves, fills, fill, gbps, fabric.start_seconds * 1e6,
      fabric.hop_seconds * 1e6);
  Section spec = Section::parse(text, "leaf-spine");
  return read_fabric(spec);
}

std::vector<Study> studies(const Fabric& fabric, const Condition& condition, const Mapping& mapping,
                           const StudyOptions& options) {
  std::vector<Study> list;
  StudyOptions pinned = options;  // A lane is one cable: more QPs would share it.
  pinned.qps = 1;
  list.push_back(
      study(fabric, condition, mapping.algorithm, mapping.shape.first, mapping.seats, pinned));
  list.back().order = "hdrm";
  list.back().note = mapping.method;
  const bool is_sorted =
      std::ranges::is_sorted(condition.nics, {}, [&](NicId id) { return fabric.at(id).at; });
  // With planes apart there are whole servers only; and nothing is said twice.
  const auto suits = [&](const Baseline& baseline) {
    const std::string_view order = baseline.order;
    const bool by_switch = order == "by switch" || order == "alternating";
    const bool is_ring = std::string_view(baseline.algorithm) == "ring";
    if (fabric.planes > 1) return !by_switch && !is_ring;
    return !(is_sorted && order == "by switch");
  };
  for (const Baseline& baseline : baselines) {
    if (!suits(baseline)) continue;
    list.push_back(try_baseline(fabric, condition, baseline, options));
  }
  const auto nics = static_cast<std::uint32_t>(condition.nics.size());
  if (nics < 2 || nics % fabric.planes != 0) return list;  // No network to compare with.
  const Fabric rival = rival_of(fabric, nics);
  StudyOptions unseen = options;
  unseen.seen = nullptr;
  for (const Baseline& baseline : std::span(baselines).first(rival_baselines)) {
    if (fabric.planes > 1 && std::string_view(baseline.algorithm) == "ring") continue;
    list.push_back(try_baseline(rival, whole(rival), baseline, unseen));
    list.back().on_rival = true;
  }
  return list;
}

}  // namespace accl::topology
