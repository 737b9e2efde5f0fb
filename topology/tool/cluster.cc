#include "topology/tool/cluster.h"

#include <fmt/format.h>

#include <cstdio>

#include "accl/base/error.h"
#include "accl/base/units.h"
#include "topology/fabric/spec.h"

namespace accl::topology {

void ClusterOptions::add_spec(CLI::App& app) {
  app.add_option("SPEC", spec, "The cluster, as YAML (docs/topology.md)")->required();
}

void ClusterOptions::add_lists(CLI::App& app) {
  app.add_option("--hosts", hosts, "Take part: servers or NICs, one a line (all)");
  app.add_option("--dead", dead, "Are dead: servers, NICs, switches, ports or cables, one a line");
  app.add_option("--occupied", occupied, "Cables that other jobs occupy, one a line");
}

std::uint64_t vector_bytes(const std::string& text) {
  const std::uint64_t bytes = parse_bytes(text, "--bytes");
  if (bytes == 0) fail(ErrorKind::invalid_argument, "--bytes 0: give at least 1");
  return bytes;
}

Cluster load_cluster(const ClusterOptions& options) {
  Cluster cluster{load_fabric(options.spec), {}};
  cluster.condition = whole(cluster.fabric);
  Condition& condition = cluster.condition;
  if (!options.hosts.empty()) take_hosts(cluster.fabric, options.hosts, condition);
  if (!options.dead.empty()) take_dead(cluster.fabric, options.dead, condition);
  if (!options.occupied.empty()) take_occupied(cluster.fabric, options.occupied, condition);
  if (cluster.fabric.planes > 1) {
    const std::vector<ServerId> left_out = keep_whole_servers(cluster.fabric, condition);
    for (const ServerId id : left_out) {
      fmt::print(stderr, "{} takes no part: not all of its NICs do, and its planes are apart\n",
                 cluster.fabric.at(id).name);
    }
  }
  return cluster;
}

}  // namespace accl::topology
