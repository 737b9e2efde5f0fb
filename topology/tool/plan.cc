#include "topology/tool/plan.h"

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "accl/base/error.h"
#include "accl/base/text_file.h"
#include "topology/cabling/advice.h"
#include "topology/cabling/bill.h"
#include "topology/cabling/exports.h"
#include "topology/fabric/spec.h"
#include "topology/mapping/launch.h"
#include "topology/mapping/study.h"
#include "topology/report/report.h"
#include "topology/tool/map.h"

namespace accl::topology {
namespace {

struct Options {
  std::string spec;
  std::string folder;
};

std::string text_of(const Counts& counts, std::string_view name) {
  return fmt::format("{:<24}{:>9}{:>12}{:>16}\n", name, counts.switches, counts.nic_cables,
                     counts.switch_cables);
}

std::string summary_of(const Fabric& fabric, const CablingPlan& plan) {
  std::string text = fmt::format("{}: {} servers with {} NICs, {} switches, {} racks\n",
                                 fabric.name, fabric.servers.size(), fabric.nics.size(),
                                 fabric.switches.size(), plan.racks.size());
  for (const BillLine& line : bill_of(fabric, plan)) {
    const std::string length = line.length_m == 0 ? "" : fmt::format(" {} m", line.length_m);
    text += fmt::format("{:>7} {}: {}{}\n", line.count, line.item, line.model, length);
  }
  text += fmt::format("\n{:<24}{:>9}{:>12}{:>16}\n", "", "switches", "NIC cables", "switch cables");
  text += text_of(counts_of(fabric), "planned");
  const auto tree = fat_tree_counts(fabric);
  const std::uint32_t radix = radix_of(fabric);
  if (!tree) {
    return text + fmt::format("a fat tree of {}-port switches needs more than 3 levels\n", radix);
  }
  return text + text_of(*tree, fmt::format("fat tree, {} levels", tree->levels)) +
         fmt::format("(full bisection, the same {} NICs, switches of {} ports)\n",
                     fabric.nics.size(), radix);
}

void add_rank_maps(const Fabric& fabric, const Mapping& mapping, std::vector<ExportFile>& files) {
  const RankMap map = rank_map_of(fabric, mapping);
  files.push_back({"rankmap.json", print_rank_map(map)});
  files.push_back({"hostfile", print_map(map, "hostfile")});
  files.push_back({"rankfile", print_map(map, "rankfile")});
  files.push_back({"slurm-hostfile", print_map(map, "slurm")});
  files.push_back({"torchrun.txt", print_map(map, "torchrun")});
}

std::string rack_of(const CablingPlan& plan, const Place& place) {
  return fmt::format("{} U{}", plan.racks[place.rack].name, place.u);
}

void add_report(const Fabric& fabric, const CablingPlan& plan, const Mapping& mapping,
                std::vector<ExportFile>& files) {
  std::unordered_map<NodeId, Place> places;
  for (std::size_t i = 0; i < plan.switches.size(); ++i) {
    places[fabric.switches[i].node] = plan.switches[i];
  }
  for (const Nic& nic : fabric.nics) places[nic.node] = plan.servers[index(nic.server)];
  const Condition condition = whole(fabric);
  const auto list = studies(fabric, condition, mapping, {});
  const RankMap map = rank_map_of(fabric, mapping);
  ReportInput input{fabric, condition, list, map};
  for (std::uint32_t i = 0; i < fabric.cables.size(); ++i) {
    const Cable& cable = fabric.cables[i];
    input.cables.push_back({.label = label_of(CableId{i}),
                            .medium = plan.type_of(CableId{i}).name,
                            .length = fmt::format("{} m", plan.at(CableId{i}).length_m),
                            .rack_a = rack_of(plan, places[cable.a.node]),
                            .rack_b = rack_of(plan, places[cable.b.node])});
  }
  files.push_back({"report.html", print_report(input)});
}

void make_folder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) fail(ErrorKind::system, "{}: cannot be made ({})", path, error.message());
}

int run(const Options& options) {
  Section spec = Section::load(options.spec);
  const Fabric fabric = read_fabric(spec);
  const CablingPlan plan = plan_cabling(fabric, spec.section("cabling"));
  std::vector<ExportFile> files = all_exports(fabric, plan);
  const Mapping mapping = map_ranks(fabric, whole(fabric), {});
  add_rank_maps(fabric, mapping, files);
  add_report(fabric, plan, mapping, files);
  // Nothing is written before all is made.
  make_folder(options.folder);
  for (const ExportFile& file : files) {
    const std::string path = (std::filesystem::path(options.folder) / file.name).string();
    write_text(path, file.text);
    fmt::print("wrote {}\n", path);
  }
  fmt::print("\n{}\n{}\n{}", summary_of(fabric, plan), print_achievement(fabric, mapping),
             text_of(advice_for(fabric)));
  return 0;
}

}  // namespace

Command plan_command(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "plan", "Writes cut sheet, bill, NetBox tables and the fabric in the formats of its tools");
  command->add_option("spec", options->spec, "The cluster, in YAML; docs/topology.md has the keys")
      ->required();
  command->add_option("--out", options->folder, "The folder to fill; made if missing")->required();
  return {.app = command, .run = [options] { return run(*options); }};
}

}  // namespace accl::topology
