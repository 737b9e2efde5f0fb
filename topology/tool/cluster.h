// cluster.h - what several commands take: a spec, and files that say what of it may be used.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "topology/fabric/condition.h"

namespace accl::topology {

struct ClusterOptions {
  std::string spec;
  std::string hosts;
  std::string dead;
  std::string occupied;

  void add_spec(CLI::App& app);
  void add_lists(CLI::App& app);
};

struct Cluster {
  Fabric fabric;
  Condition condition;
};

// "256M", at least 1. Throws Error(invalid_argument) for anything else.
std::uint64_t vector_bytes(const std::string& text);

// Throws Error(invalid_argument) for bad files. Where planes are apart, servers that have lost a
// NIC take no part; that is said on stderr.
Cluster load_cluster(const ClusterOptions& options);

}  // namespace accl::topology
