#include "bench/perf/report.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "accl/base/error.h"
#include "accl/launch.h"
#include "bench/perf/table.h"

namespace accl::perf {
namespace {

using Json = nlohmann::ordered_json;

constexpr int file_version = 3;

// nccl-tests writes booleans as strings.
const char* bool_text(bool value) { return value ? "true" : "false"; }

Json config(const Options& options, std::span<const Member> members) {
  Json config{{"nthreads", 1},
              {"ngpus", 1},
              {"minimum_bytes", options.min_bytes},
              {"maximum_bytes", options.max_bytes}};
  if (options.step_factor > 1) {
    config["step_factor"] = options.step_factor;
  } else {
    config["step_bytes"] = options.step_bytes;
  }
  config["warmup_iters"] = options.warmup;
  config["iterations"] = options.iterations;
  config["aggregated_iterations"] = options.aggregated;
  config["validation"] = options.check;
  config["graph"] = 0;
  config["blocking_collectives"] = bool_text(options.blocking != 0);
  config["per_iter_timing"] = bool_text(options.per_iteration);
  config["per_iter_skip"] = options.per_iteration_skip;
  config["parallel_init"] = bool_text(false);
  config["devices"] = Json::array();
  for (const Member& member : members) {
    config["devices"].push_back({{"rank", index(member.rank)},
                                 {"group", 0},
                                 {"pid", member.pid},
                                 {"hostname", member.host},
                                 {"device", 0},
                                 {"device_hex", "host"},
                                 {"device_info", "host memory"}});
  }
  return config;
}

Json side(const Row& row, const std::optional<Measurement>& side, bool checked) {
  if (!side) return nullptr;
  Json json{{"time", side->time_us},
            {"alg_bw", algorithm_bandwidth(row, *side)},
            {"bus_bw", bus_bandwidth(row, *side)},
            {"nwrong", nullptr}};
  if (checked) json["nwrong"] = side->wrong;
  return json;
}

Json per_iteration(const Measurement& measurement, std::uint64_t skip) {
  const IterationStatistics all = iteration_statistics(measurement, skip);
  return {{"skipped_iterations", skip},
          {"min_us", all.min_us},
          {"max_us", all.max_us},
          {"avg_us", all.average_us},
          {"p50_us", all.p50_us},
          {"p95_us", all.p95_us},
          {"p99_us", all.p99_us},
          {"stdev_us", all.deviation_us},
          {"cv_pct", all.variation_percent},
          {"times_us", slowest_us(measurement)},
          {"per_process_max_times_us", measurement.by_rank_us}};
}

Json spread(const Measurement& measurement) {
  return {{"time_us_median", measurement.median_us},
          {"time_us_min", measurement.min_us},
          {"time_us_max", measurement.max_us},
          {"bytes_outside", measurement.outside}};
}

Json traffic(std::span<const Flow> flows) {
  Json list = Json::array();
  for (const Flow& flow : flows) {
    list.push_back(
        {{"from", flow.from}, {"to", flow.to}, {"messages", flow.messages}, {"bytes", flow.bytes}});
  }
  return list;
}

// link(2) fails where the name exists, so that two runs cannot take the same one.
std::string publish(const std::string& temporary, const std::string& wanted) {
  std::string path = wanted;
  for (int n = 0; ::link(temporary.c_str(), path.c_str()) != 0; ++n) {
    const int error = errno;
    if (error != EEXIST) {
      ::unlink(temporary.c_str());
      fail_system(fmt::format("-J {}", path), error);
    }
    path = fmt::format("{}.{}", wanted, n);
  }
  return path;
}

}  // namespace

namespace {

void check_output(std::string_view flag, const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  const std::string name = folder.empty() ? "." : folder.string();
  if (path.empty() || ::access(name.c_str(), W_OK | X_OK) == 0) return;
  fail(ErrorKind::invalid_argument, "{} {}: the folder {} cannot be written ({}); give another",
       flag, path, name, std::generic_category().message(errno));
}

}  // namespace

void check_outputs(const Options& options) {
  check_output("-J", options.json_path);
  check_output("--tune", options.tune_path);
}

Report::Report(const Options& options, std::span<const Member> members) : options_(options) {
  document_["version"] = file_version;
  document_["start_time"] = time_text();
  document_["args"] = options.arguments;
  document_["env"] = Json::array();
  for (char** entry = environ; *entry != nullptr; ++entry) document_["env"].push_back(*entry);
  document_["nccl_version"] = 0;  // There is none in it; ours is accl.version.
  document_["config"] = config(options, members);
  ours_ = {{"version", version},
           {"algorithm", options.algorithm},
           {"transport", ""},
           {"ranks", members.size()},
           {"peers", Json::array()}};
}

void Report::add(const Row& row) {
  const bool checked = options_.check != 0;
  Json json{{"size", row.size_bytes},
            {"count", row.count},
            {"type", row.type},
            {"redop", row.operation},
            {"root", fmt::format("{:6}", row.root)},
            {"out_of_place", side(row, row.out_of_place, checked)}};
  if (options_.per_iteration && row.out_of_place) {
    json["out_of_place_per_iter"] = per_iteration(*row.out_of_place, options_.per_iteration_skip);
  }
  json["in_place"] = side(row, row.in_place, checked);
  if (options_.per_iteration && row.in_place) {
    json["in_place_per_iter"] = per_iteration(*row.in_place, options_.per_iteration_skip);
  }
  json["actual_iterations"] = row.out_of_place ? row.out_of_place->iterations : 0;
  json["experiment_name"] = row.name;
  Json ours = row.out_of_place ? spread(*row.out_of_place) : Json::object();
  ours["algorithm"] = row.algorithm;
  ours["calls"] = row.calls;
  if (row.in_place) ours["in_place"] = spread(*row.in_place);
  ours["peers"] = Json::object();
  ours["peer_ratios"] = Json::object();
  for (const PeerTime& peer : row.peers) {
    ours["peers"][peer.name] = peer.median_us ? Json(*peer.median_us) : Json();
    ours["peer_ratios"][peer.name] = peer.median_us ? Json(peer.ratio) : Json();
  }
  if (row.traffic) ours["traffic"] = traffic(*row.traffic);
  json["accl"] = std::move(ours);
  results_.push_back(std::move(json));
}

void Report::describe(const std::string& transport, std::span<const PeerVersion> peers,
                      const Json& limits) {
  ours_["transport"] = transport;
  for (const PeerVersion& peer : peers) {
    ours_["peers"].push_back({{"name", peer.name}, {"version", peer.version}});
  }
  if (!limits.empty()) ours_["limits"] = limits;
}

std::string Report::write(const Totals& totals) {
  document_["results"] = results_;
  document_["out_of_bounds"] = {{"count", totals.bad_measurements},
                                {"okay", bool_text(totals.bad_measurements == 0)}};
  document_["average_bus_bandwidth"] = {{"bandwidth", totals.average_bus_bandwidth()},
                                        {"okay", "unchecked"}};
  document_["errors"] = Json::array();
  document_["end_time"] = time_text();
  document_["accl"] = ours_;
  const std::string temporary = fmt::format("{}.tmp-{}", options_.json_path, ::getpid());
  std::ofstream file(temporary);
  file << document_.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  file.close();
  if (!file) {
    const int error = errno;
    ::unlink(temporary.c_str());
    fail_system(fmt::format("-J {}", options_.json_path), error);
  }
  const std::string path = publish(temporary, options_.json_path);
  ::unlink(temporary.c_str());
  return path;
}

}  // namespace accl::perf
