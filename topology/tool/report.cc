#include "topology/tool/report.h"

#include <cstdio>
#include <memory>

#include "accl/base/text_file.h"
#include "topology/mapping/launch.h"
#include "topology/report/report.h"
#include "topology/tool/cluster.h"

namespace accl::topology {
namespace {

struct Options {
  ClusterOptions cluster;
  MapOptions map;
  std::string out;
};

int run(const Options& options) {
  const Cluster cluster = load_cluster(options.cluster);
  const Mapping mapping = map_ranks(cluster.fabric, cluster.condition, options.map);
  const RankMap map = rank_map_of(cluster.fabric, mapping);
  const auto list = studies(cluster.fabric, cluster.condition, mapping, {});
  const std::string page = print_report({cluster.fabric, cluster.condition, list, map});
  if (options.out.empty()) std::fputs(page.c_str(), stdout);
  if (!options.out.empty()) write_text(options.out, page);
  return mapping.is_contention_free() ? 0 : 1;
}

}  // namespace

Command report_command(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* const command = app.add_subcommand(
      "report",
      "The cluster and its loads as one HTML page (exit status 1 where cables are shared)");
  options->cluster.add_spec(*command);
  options->cluster.add_lists(*command);
  command->add_option("--algo", options->map.algorithm, "The allreduce (hd, or twolevel)");
  command->add_option("-o,--out", options->out, "Write the page here (standard output)");
  return {command, [options] { return run(*options); }};
}

}  // namespace accl::topology
