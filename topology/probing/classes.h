// classes.h - the labels of each way together: what accl-topo paths finds, for people and for the
// library (ACCL_IB_PATHS).
//
//   {"version": 1, "pairs": [
//     {"from": "10.0.0.2", "to": "10.0.1.2", "classes": [
//       {"hops": ["10.0.0.1", "172.16.0.33", "10.0.1.1"], "labels": [1, 5004, ...]}, ...]}]}
#pragma once

#include <span>
#include <string>
#include <vector>

#include "topology/probing/prober.h"

namespace accl::topology {

struct PathClass {
  Hops hops;
  std::vector<std::uint16_t> labels;  // Rising.
};

struct PairPaths {
  Address from{};
  Address to{};
  std::vector<PathClass> classes;  // In the order of their hops, as numbers; "*" comes first.
};

PairPaths classify(const Address& from, const Trace& trace);

std::string print_paths_json(std::span<const PairPaths> pairs);
std::string print_paths(std::span<const PairPaths> pairs);

// Sentences on what the classes do not show, a line each; empty where there is nothing to say.
std::string print_doubts(const PairPaths& pair, const Trace& trace);

}  // namespace accl::topology
