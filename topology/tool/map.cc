#include "topology/tool/map.h"

#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "accl/base/error.h"
#include "accl/base/text_file.h"
#include "topology/mapping/launch.h"
#include "topology/tool/cluster.h"

namespace accl::topology {
namespace {

struct Options {
  ClusterOptions cluster;
  MapOptions map;
  std::string format = "json";
  std::string out;
};

constexpr std::size_t most_lines = 24;  // Of rounds that share cables.

int run(const Options& options) {
  const Cluster cluster = load_cluster(options.cluster);
  const Mapping mapping = map_ranks(cluster.fabric, cluster.condition, options.map);
  const std::string text = print_map(rank_map_of(cluster.fabric, mapping), options.format);
  if (options.out.empty()) std::fputs(text.c_str(), stdout);
  if (!options.out.empty()) write_text(options.out, text);
  fmt::print(stderr, "{}", print_achievement(cluster.fabric, mapping));
  return mapping.is_contention_free() ? 0 : 1;
}

std::string print_round(const Fabric& fabric, const RoundLoad& round, std::uint32_t number) {
  const CableId hottest = fabric.cable_of(round.hottest);
  return fmt::format("  step {}: {} shared, at most {:.3g} messages on {}\n", number, round.shared,
                     round.between_switches, fabric.name_of(hottest));
}

}  // namespace

std::string print_achievement(const Fabric& fabric, const Mapping& mapping) {
  const std::string made = fmt::format("{} over {} ranks of {} ({})", mapping.algorithm,
                                       mapping.seats.size(), fabric.name, mapping.method);
  const bool needs_pins = fabric.cables_per_pair > 1 || fabric.kind == FabricKind::leaf_spine;
  const std::string pins =
      needs_pins
          ? "  so far as connections keep to their lanes, which is yours to pin: the switches' "
            "hash does not\n"
          : "";
  if (mapping.is_contention_free()) {
    return made + ": contention-free, at most one message on any cable in every step\n" + pins;
  }
  std::string text = fmt::format("{}: at most {:.3g} messages on a cable\n", made, mapping.most());
  if (mapping.occupied() > 0) {
    text += fmt::format("  {} messages use cables that other jobs occupy\n", mapping.occupied());
  }
  std::uint32_t number = 1;
  std::size_t lines = 0;
  for (const RoundLoad& round : mapping.rounds) {
    if (round.shared > 0 && ++lines <= most_lines) text += print_round(fabric, round, number);
    number += round.repeats;
  }
  if (lines > most_lines) text += fmt::format("  and {} more steps\n", lines - most_lines);
  return text + pins;
}

Command map_command(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* const command = app.add_subcommand(
      "map", "The rank order, and what it achieves (exit status 1 where cables are shared)");
  options->cluster.add_spec(*command);
  options->cluster.add_lists(*command);
  command->add_option("--algo", options->map.algorithm,
                      "The allreduce to map (hd; with several planes twolevel)");
  command
      ->add_option("--format", options->format,
                   "json (default), hostfile, rankfile, slurm or torchrun")
      ->check(CLI::IsMember({"json", "hostfile", "rankfile", "slurm", "torchrun"}));
  command->add_option("--moves", options->map.moves, "Tries of a search (by size)");
  command->add_option("-o,--out", options->out, "Write the map here (standard output)");
  return {command, [options] { return run(*options); }};
}

}  // namespace accl::topology
