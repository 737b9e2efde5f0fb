// options.h - what accl-perf was asked to do. Flags that nccl-tests has mean what they mean there.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "accl/base/ids.h"
#include "accl/base/types.h"
#include "accl/bootstrap/unique_id.h"
#include "algorithms/plan.h"
#include "bench/perf/buffers.h"

namespace accl::perf {

struct Options {
  Collective collective = Collective::allreduce;

  // nccl-tests'.
  std::uint64_t min_bytes = 8;
  std::uint64_t max_bytes = 128 << 20;
  std::uint64_t step_bytes = 0;   // Used where step_factor is 1.
  std::uint64_t step_factor = 2;  // 1: sizes grow by step_bytes.
  std::uint64_t iterations = 20;
  bool iterations_given = false;  // Otherwise small sizes run more of them.
  std::uint64_t warmup = 1;
  std::uint64_t aggregated = 1;  // Calls per iteration; times are per call.
  std::uint64_t cycles = 1;      // 0: for ever.
  std::uint64_t check = 1;       // Checked calls before, and again after, each measurement.
  std::vector<DataType> types{DataType::float32};
  std::vector<ReduceOp> ops{ReduceOp::sum};
  std::int64_t root = 0;       // -1: every root.
  std::uint64_t average = 1;   // Over ranks: 0 rank 0's time, 1 average, 2 min, 3 max.
  std::uint64_t blocking = 0;  // 1: barrier after each call, 3: the same outside the time.
  std::uint64_t unalign = 0;   // Elements.
  bool per_iteration = false;
  std::uint64_t per_iteration_skip = 0;
  bool timestamps = false;
  std::uint64_t timeout_s = 0;  // For the whole run; 0: none.
  std::string json_path;

  // Ours.
  std::optional<std::uint32_t> ranks;  // Local processes to start.
  std::optional<std::uint32_t> rank, world;
  std::string root_address;  // With rank and world.
  std::string algorithm = "auto";
  std::optional<First> first;  // None: the map's, or near.
  std::string transport = "auto";
  std::string map_path;  // --map, or ACCL_RANK_MAP where hdrm needs one.
  std::string workload_path;
  std::uint64_t fusion_bytes = 32 << 20;
  std::string fault;
  BufferKind buffers = BufferKind::user;
  std::uint64_t align_bytes = 4096;
  bool bind = true;  // Ranks that we start to a core each, where there are as many.
  bool explain = false;
  bool traffic = false;  // Count what each row sends, too.
  bool tune = false;
  std::string tune_path;  // Empty: the rules go to stdout.
  bool peers = false;
  bool limits = true;
  bool in_place = true;  // Measured too, where the collective has it.

  // As typed, for the JSON file.
  std::vector<std::string> arguments;
};

// Throws Error(invalid_argument): one sentence that names the flag and the remedy. Empty where
// --help or --version was asked, after printing it.
std::optional<Options> parse_options(int argc, char** argv);

// What can be said only when the number of ranks is known; throws as parse_options does.
void check_options(const Options& options, std::uint32_t world);

// The catalog's name of options.algorithm: hdrm is hd under a map.
std::string catalog_algorithm(const Options& options);

// Whether the collective reduces, and whether it has a root.
bool has_operation(Collective collective);
bool has_root(Collective collective);

}  // namespace accl::perf
