// report.h - the JSON file of -J: nccl-tests' version 3 keys, and our own in objects `accl`.
//
// The file appears whole, at the end, under the name asked for or, where that exists, with ".0",
// ".1", ... behind it; nothing is ever overwritten, and a run that fails leaves nothing.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "accl/bootstrap/session.h"
#include "bench/perf/options.h"
#include "bench/perf/row.h"

namespace accl::perf {

struct PeerVersion {
  std::string name, version;
};

// Throws Error(invalid_argument) where a folder that -J or --tune writes to cannot be written.
void check_outputs(const Options& options);

class Report {
 public:
  Report(const Options& options, std::span<const Member> members);

  void add(const Row& row);
  // What the run as a whole used.
  void describe(const std::string& transport, std::span<const PeerVersion> peers,
                const nlohmann::ordered_json& limits);
  // Gives the name of the file it wrote.
  std::string write(const Totals& totals);

 private:
  const Options& options_;
  nlohmann::ordered_json document_;
  nlohmann::ordered_json results_ = nlohmann::ordered_json::array();
  nlohmann::ordered_json ours_;
};

}  // namespace accl::perf
