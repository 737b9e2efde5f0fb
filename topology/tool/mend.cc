#include "topology/tool/mend.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <vector>

#include "accl/base/text_file.h"
#include "accl/base/units.h"
#include "topology/mapping/launch.h"
#include "topology/mapping/study.h"
#include "topology/tool/cluster.h"
#include "topology/tool/map.h"

namespace accl::topology {
namespace {

struct Options {
  ClusterOptions cluster;
  std::string bytes = "256M";
  std::string out;
  bool json = false;
};

// What there was, what is left if nobody does anything, and what can be had.
struct Costs {
  std::uint32_t ranks_before = 0;
  double before = 0;     // Seconds; the whole fabric under its own map.
  double unmended = -1;  // The old map's survivors in their old order; -1: they cannot go on.
  double mended = 0;
};

// The survivors in the order of the map that was.
Seats survivors(const Mapping& old, const Condition& now) {
  const std::set<NicId> alive(now.nics.begin(), now.nics.end());
  Seats seats;
  std::vector<std::optional<std::uint32_t>> place(old.seats.size());  // By position that was.
  for (std::uint32_t p = 0; p < old.seats.size(); ++p) {
    if (!alive.contains(old.seats.nics[p])) continue;
    place[p] = seats.size();
    seats.nics.push_back(old.seats.nics[p]);
    seats.lanes.push_back(old.seats.lanes[p]);
  }
  for (const auto& [connection, lane] : old.seats.own_lanes) {
    const auto from = place[connection >> 32];
    const auto to = place[static_cast<std::uint32_t>(connection)];
    if (from && to) seats.own_lanes[Seats::connection_of(*from, *to)] = lane;
  }
  return seats;
}

Costs cost_of(const Fabric& fabric, const Condition& before, const Mapping& old,
              const Condition& now, const Mapping& mended, std::uint64_t bytes) {
  StudyOptions options;
  options.bytes = bytes;
  const auto seconds = [&](const Condition& condition, const Mapping& map, const Seats& seats) {
    return study(fabric, condition, map.algorithm, map.shape.first, seats, options).seconds;
  };
  Costs costs;
  costs.ranks_before = old.seats.size();
  costs.before = seconds(before, old, old.seats);
  costs.mended = seconds(now, mended, mended.seats);
  const bool whole_servers =
      old.shape.width == 1 || survivors(old, now).size() % old.shape.width == 0;
  if (whole_servers) costs.unmended = seconds(now, old, survivors(old, now));
  return costs;
}

std::string describe(const Fabric& fabric, const Condition& now, const Mapping& mended,
                     const Costs& costs, const std::string& bytes) {
  const auto dead = std::ranges::count(now.dead_cables, true);
  std::string text = fmt::format("{} cables are dead or cut off, {} of {} ranks are left\n", dead,
                                 mended.seats.size(), costs.ranks_before);
  text += fmt::format("  before         {:>10.1f} us for {}\n", costs.before * 1e6, bytes);
  if (costs.unmended >= 0) {
    text += fmt::format("  in old order   {:>10.1f} us, {:.2f}x\n", costs.unmended * 1e6,
                        costs.unmended / costs.before);
  }
  text += fmt::format("  mended         {:>10.1f} us, {:.2f}x\n", costs.mended * 1e6,
                      costs.mended / costs.before);
  return text + print_achievement(fabric, mended);
}

nlohmann::ordered_json json_of(const Mapping& mended, const Costs& costs) {
  return {{"ranks_before", costs.ranks_before},
          {"ranks", mended.seats.size()},
          {"seconds_before", costs.before},
          {"seconds_in_old_order", costs.unmended},
          {"seconds_mended", costs.mended},
          {"max_flows", mended.most()},
          {"contention_free", mended.is_contention_free()},
          {"method", mended.method}};
}

int run(const Options& options) {
  ClusterOptions without_dead = options.cluster;
  without_dead.dead.clear();
  const Cluster before = load_cluster(without_dead);
  const Cluster now = load_cluster(options.cluster);
  const Mapping old = map_ranks(before.fabric, before.condition, {});
  const Mapping mended = map_ranks(now.fabric, now.condition, {});
  const Costs costs = cost_of(now.fabric, before.condition, old, now.condition, mended,
                              vector_bytes(options.bytes));
  if (!options.out.empty()) {
    write_text(options.out, print_rank_map(rank_map_of(now.fabric, mended)));
  }
  const std::string text = options.json
                               ? json_of(mended, costs).dump(1) + "\n"
                               : describe(now.fabric, now.condition, mended, costs, options.bytes);
  std::fputs(text.c_str(), stdout);
  return mended.is_contention_free() ? 0 : 1;
}

}  // namespace

Command mend_command(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* const command = app.add_subcommand(
      "mend", "Given what is dead, the best new order and what it costs (exit status 1 if shared)");
  options->cluster.add_spec(*command);
  options->cluster.add_lists(*command);
  command->get_option("--dead")->required();
  command->add_option("--bytes", options->bytes, "Of the whole vector (256M)");
  command->add_option("-o,--out", options->out, "Write the new rankmap.json here");
  command->add_flag("--json", options->json, "As JSON");
  return {command, [options] { return run(*options); }};
}

}  // namespace accl::topology
