#include "topology/tool/explain.h"

#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "accl/base/error.h"
#include "accl/base/units.h"
#include "topology/contention/volume.h"
#include "topology/mapping/rank_map.h"
#include "topology/mapping/study.h"
#include "topology/tool/cluster.h"
#include "topology/tool/draw.h"

namespace accl::topology {
namespace {

using Json = nlohmann::ordered_json;

constexpr int most_slices = 4096;

struct Options {
  ClusterOptions cluster;
  MapOptions map;
  StudyOptions study;
  std::string order;
  std::string first;
  std::string bytes = "256M";
  std::string paths;
  std::string steps = "together";
  bool json = false;
  bool cables = false;
  bool unpinned = false;
};

First first_of(const Options& options) { return options.first == "far" ? First::far : First::near; }

// The seats of a map, of the NICs that take part.
Seats seats_of_map(const Cluster& cluster, const RankMap& map, const std::string& path) {
  std::unordered_map<std::string, NicId> nics;
  for (const NicId id : cluster.condition.nics) {
    nics[cluster.fabric.graph.node(cluster.fabric.at(id).node).name] = id;
  }
  Seats seats;
  for (std::size_t p = 0; p < map.seats.size(); ++p) {
    const Seat& seat = map.seats[p];
    const auto found = nics.find(seat.host + "/" + seat.nic);
    if (found == nics.end()) {
      fail(ErrorKind::invalid_argument,
           "{}: entry {}: {}/{} takes no part in {}, or comes twice; make the map for this spec",
           path, p, seat.host, seat.nic, cluster.fabric.name);
    }
    seats.nics.push_back(found->second);
    seats.lanes.push_back(seat.lane);
    nics.erase(found);
  }
  std::vector<std::uint32_t> position(map.seats.size());  // By rank.
  for (std::uint32_t p = 0; p < map.seats.size(); ++p) position[index(map.seats[p].rank)] = p;
  for (std::uint32_t p = 0; p < map.seats.size(); ++p) {
    for (const auto& [to, lane] : map.seats[p].own_lanes) {
      seats.own_lanes[Seats::connection_of(p, position[index(to)])] = lane;
    }
  }
  return seats;
}

Study study_of(const Cluster& cluster, const Options& options) {
  const Fabric& fabric = cluster.fabric;
  const Condition& condition = cluster.condition;
  std::string algorithm =
      options.map.algorithm.empty() ? natural_algorithm(fabric) : options.map.algorithm;
  StudyOptions how = options.study;
  Seats seats;
  First first = first_of(options);
  std::string note;
  if (options.order == "hdrm") {
    MapOptions map = options.map;
    if (!options.first.empty()) map.first = first;
    const Mapping mapping = map_ranks(fabric, condition, map);
    seats = mapping.seats;
    first = mapping.shape.first;
    note = mapping.method;
  } else if (options.order == "sorted") {
    seats = sorted_seats(condition);
  } else if (options.order == "shuffled") {
    seats = shuffled_seats(fabric, condition, options.study.seed);
  } else {
    const RankMap map = load_rank_map(options.order, 0);
    seats = seats_of_map(cluster, map, options.order);
    if (options.first.empty()) first = map.first == "far" ? First::far : First::near;
    if (options.map.algorithm.empty() && !map.algorithm.empty()) algorithm = map.algorithm;
  }
  if (options.unpinned) {
    seats.lanes.clear();
    seats.own_lanes.clear();
  }
  if (!seats.lanes.empty()) how.qps = 1;
  Study result = study(fabric, condition, algorithm, first, seats, how);
  result.order = options.order;
  result.note = note;
  return result;
}

std::vector<double> by_step(const Study& study) {
  std::vector<double> steps;
  for (const RoundLoad& round : study.rounds) {
    steps.insert(steps.end(), round.repeats, round.between_switches);
  }
  return steps;
}

// "1 1 2 2 1", with runs of more than four as "1 x14".
std::string print_steps(const Study& study) {
  constexpr std::size_t longest = 40;
  std::string text;
  const std::vector<double> steps = by_step(study);
  for (std::size_t i = 0; i < steps.size();) {
    std::size_t end = i;
    while (end < steps.size() && steps[end] == steps[i]) ++end;
    const std::size_t run = end - i;
    text += text.empty() ? "" : " ";
    text += run > 4 ? fmt::format("{:.3g} x{}", steps[i], run) : fmt::format("{:.3g}", steps[i]);
    i += run > 4 ? run : 1;
  }
  return text.size() > longest ? text.substr(0, longest - 4) + " ..." : text;
}

std::string name_of_algorithm(const Study& study) {
  const bool has_first = study.algorithm == "hd" || study.algorithm == "twolevel";
  return study.algorithm + (!has_first ? "" : study.first == First::near ? " near" : " far");
}

// Two decimals, or as many as a slow fabric needs.
std::string print_rate(double gigabytes) {
  return gigabytes < 1 ? fmt::format("{:.2g}", gigabytes) : fmt::format("{:.2f}", gigabytes);
}

std::string print_row(const Study& study, std::uint64_t bytes, double best) {
  const std::string name = name_of_algorithm(study);
  const std::string start = fmt::format("{:<14} {:<11} {:<13}", study.fabric, study.order, name);
  if (!study.is_counted()) return fmt::format("{} not counted: {}\n", start, study.note);
  return fmt::format("{} {:>6} {:>9.2f} {:>11.1f} {:>8} {:>7.2f}x  {}\n", start,
                     study.traffic.round_count(), study.slowdown(), study.seconds * 1e6,
                     print_rate(study.bus_bandwidth(bytes) * 1e-9), study.seconds / best,
                     print_steps(study));
}

std::string print_head(std::uint32_t ranks, const StudyOptions& options) {
  const bool is_free = options.steps == Steps::free;
  return fmt::format(
      "allreduce of {} over {} ranks. Slowdown: against cables that are never shared. Time: "
      "max-min\n"
      "fair sharing, {}; without incast, pauses and lost packets.\n\n"
      "{:<14} {:<11} {:<13} {:>6} {:>9} {:>11} {:>8} {:>8}  {}\n",
      format_bytes(options.bytes), ranks,
      is_free ? "each rank at its own pace" : "a step after the other", "fabric", "order",
      "algorithm", "steps", "slowdown", "us", "GB/s bus", "to first",
      "most messages on a cable, by step");
}

std::size_t hottest_round(const Study& study) {
  std::size_t hottest = 0;
  for (std::size_t i = 0; i < study.rounds.size(); ++i) {
    const double most = study.rounds[hottest].between_switches;
    if (study.rounds[i].between_switches > most) hottest = i;
  }
  return hottest;
}

std::string print_picture(const Cluster& cluster, const Study& study, const Options& options) {
  if (study.rounds.empty()) return {};
  const Routes routes(cluster.fabric, cluster.condition, options.study.seed);
  const std::size_t round = hottest_round(study);
  const RoutedRound routed = route_round(cluster.fabric, routes, study.seats,
                                         study.traffic.rounds[round], sending_of(study));
  const std::string picture = draw_round(cluster.fabric, routed);
  if (picture.empty()) return {};
  std::uint32_t step = 1;
  for (std::size_t i = 0; i < round; ++i) step += study.rounds[i].repeats;
  return fmt::format("\n{} {}, step {}: messages on the busiest cable between two switches\n{}",
                     study.order, name_of_algorithm(study), step, picture);
}

Json json_of(const Study& study) {
  Json json{{"max_flows_per_link", by_step(study)},
            {"slowdown", study.slowdown()},
            {"seconds", study.seconds}};
  json["order"] = study.order;
  json["algorithm"] = study.algorithm;
  json["first"] = study.first == First::near ? "near" : "far";
  json["fabric"] = study.fabric;
  json["note"] = study.note;
  json["steps"] = study.options.steps == Steps::free ? "free" : "together";
  return json;
}

// What one call moves: over which cables, between which positions. Counted in float32, as accl-perf
// sends unless told otherwise.
void add_cables(const Cluster& cluster, const Study& study, Json& json) {
  constexpr std::uint32_t element_bytes = 4;
  const Fabric& fabric = cluster.fabric;
  const auto name = [&](NodeId node) { return fabric.graph.node(node).name; };
  const Algorithm& algorithm = *find_algorithm(Collective::allreduce, study.algorithm);
  const std::vector<PairVolume> pairs =
      volume_by_pair(algorithm, study.shape, study.options.bytes / element_bytes, element_bytes);
  const Routes routes(fabric, cluster.condition, study.options.seed);
  const Sending sending = sending_of(study);
  const auto bytes = bytes_by_link(fabric, routes, study.seats, pairs, sending, element_bytes);
  const auto most = most_by_link(fabric, routes, study.seats, study.traffic, sending);
  json["nics"] = Json::array();
  for (const NicId id : study.seats.nics) json["nics"].push_back(name(fabric.at(id).node));
  json["cables"] = Json::array();
  for (std::uint32_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] == 0) continue;
    const Link& link = fabric.graph.link(LinkId{i});
    json["cables"].push_back({{"cable", label_of(fabric.cable_of(LinkId{i}))},
                              {"from", name(link.from)},
                              {"to", name(link.to)},
                              {"bytes", bytes[i]},
                              {"most", most[i]}});
  }
  json["pairs"] = Json::array();
  for (const PairVolume& pair : pairs) {
    json["pairs"].push_back({{"from", index(pair.from)},
                             {"to", index(pair.to)},
                             {"bytes", pair.bytes},
                             {"messages", pair.messages}});
  }
}

// The same as `map` gives: a cable is shared, among our messages or with another job.
int exit_of(const Study& study) { return study.most() > 1 || study.occupied() > 0 ? 1 : 0; }

std::string print_occupied(const Study& study) {
  if (study.occupied() == 0) return {};
  return fmt::format("\n{} messages of {} use cables that other jobs occupy\n", study.occupied(),
                     study.order);
}

int explain_all(const Cluster& cluster, const Options& options) {
  MapOptions map = options.map;
  if (!options.first.empty()) map.first = first_of(options);
  const Mapping mapping = map_ranks(cluster.fabric, cluster.condition, map);
  const auto list = studies(cluster.fabric, cluster.condition, mapping, options.study);
  if (options.json) {
    Json json = json_of(list.front());
    json["baselines"] = Json::array();
    for (std::size_t i = 1; i < list.size(); ++i) json["baselines"].push_back(json_of(list[i]));
    fmt::print("{}\n", json.dump(1));
    return exit_of(list.front());
  }
  std::string text = print_head(list.front().seats.size(), options.study);
  for (const Study& each : list) {
    text += print_row(each, options.study.bytes, list.front().seconds);
  }
  text += print_occupied(list.front());
  text += print_picture(cluster, list.front(), options);
  if (list.size() > 1) text += print_picture(cluster, list[1], options);
  std::fputs(text.c_str(), stdout);
  return exit_of(list.front());
}

int run(Options options) {
  options.study.bytes = vector_bytes(options.bytes);
  if (options.steps == "free") options.study.steps = Steps::free;
  const Slicing& slicing = options.study.slicing;
  const bool is_own = slicing.slices > 1 || slicing.in_flight > 1 || !slicing.awaits_sends;
  if (is_own && options.steps != "free") {
    fail(ErrorKind::invalid_argument,
         "--slices, --in-flight and --posted: steps that begin together for all ranks have none; "
         "add --steps free");
  }
  const Cluster cluster = load_cluster(options.cluster);
  SeenPaths seen;
  if (!options.paths.empty()) {
    seen = SeenPaths::load(cluster.fabric, cluster.condition, options.paths);
    options.study.seen = &seen;
  }
  if (options.order.empty()) return explain_all(cluster, options);
  const Study one = study_of(cluster, options);
  if (options.json) {
    Json json = json_of(one);
    if (options.cables) add_cables(cluster, one, json);
    fmt::print("{}\n", json.dump(1));
  } else {
    const std::string text = print_head(one.seats.size(), options.study) +
                             print_row(one, options.study.bytes, one.seconds) +
                             print_occupied(one) + print_picture(cluster, one, options);
    std::fputs(text.c_str(), stdout);
  }
  return exit_of(one);
}

}  // namespace

Command explain_command(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* const command = app.add_subcommand(
      "explain", "Messages on every cable in every step, and the time (exit status 1 if shared)");
  options->cluster.add_spec(*command);
  options->cluster.add_lists(*command);
  command->add_option("--algo", options->map.algorithm, "The allreduce (hd, or twolevel)");
  CLI::Option* const order =
      command->add_option("--order", options->order,
                          "hdrm, sorted, shuffled or a rankmap.json (all, with the rival network)");
  command->add_option("--first", options->first, "Which distance of halving-doubling comes first")
      ->check(CLI::IsMember({"near", "far"}));
  command
      ->add_option("--steps", options->steps,
                   "A step begins for all ranks together, or free: for each when its own is done")
      ->check(CLI::IsMember({"together", "free"}));
  command
      ->add_option("--slices", options->study.slicing.slices,
                   "With --steps free: so many slices of the vector, each a plan of its own (1)")
      ->check(CLI::Range(1, most_slices));
  command
      ->add_option("--in-flight", options->study.slicing.in_flight,
                   "With --steps free: slices that a rank works on at a time (1)")
      ->check(CLI::Range(1, most_slices));
  command->add_flag(
      "!--posted", options->study.slicing.awaits_sends,
      "With --steps free: a rank waits for what it receives, not for what it sent to arrive");
  command->add_option(
      "--paths", options->paths,
      "Paths that were seen, instead of those we expect: NIC NIC SWITCH..., a line");
  command->add_option("--bytes", options->bytes, "Of the whole vector (256M)");
  command->add_option("--qps", options->study.qps, "Connections a message is split over (1)")
      ->check(CLI::Range(1, 64));
  command->add_option("--seed", options->study.seed, "Of the switches' hash and of shuffles (1)");
  command
      ->add_flag("--unpinned", options->unpinned,
                 "With --order: nothing keeps the lanes of the map, the hash chooses")
      ->needs(order);
  CLI::Option* const json = command->add_flag("--json", options->json, "As JSON");
  command
      ->add_flag("--cables", options->cables,
                 "With --json and --order: bytes by cable and by pair of positions, in float32")
      ->needs(json)
      ->needs(order);
  return {command, [options] { return run(*options); }};
}

}  // namespace accl::topology
