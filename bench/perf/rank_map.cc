#include "bench/perf/rank_map.h"

#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>

#include "accl/base/error.h"

namespace accl::perf {
namespace {

constexpr const char* remedy = "make it with 'accl-topo map SPEC.yaml --format json > map.json'";

nlohmann::json read_json(const std::string& path) {
  std::ifstream file(path);
  if (!file) {
    fail(ErrorKind::invalid_argument, "{}: cannot be read ({}); {}", path,
         std::generic_category().message(errno), remedy);
  }
  try {
    return nlohmann::json::parse(file);
  } catch (const nlohmann::json::exception& error) {
    fail(ErrorKind::invalid_argument, "{}: {}; {}", path, error.what(), remedy);
  }
}

}  // namespace

std::vector<Rank> read_rank_map(const std::string& path, std::uint32_t world) {
  const nlohmann::json map = read_json(path);
  if (!map.is_object() || map.value("version", 0) != 1 || !map.contains("ranks") ||
      !map["ranks"].is_array()) {
    fail(ErrorKind::invalid_argument, "{}: not a version 1 rank map; {}", path, remedy);
  }
  if (map["ranks"].size() != world) {
    fail(ErrorKind::invalid_argument, "{}: holds {} ranks and this job has {}; {}", path,
         map["ranks"].size(), world, remedy);
  }
  std::vector<Rank> order;
  std::vector<bool> seen(world, false);
  for (const nlohmann::json& entry : map["ranks"]) {
    const auto number = entry.is_object() && entry.contains("rank") ? entry["rank"] : entry;
    const bool is_rank = number.is_number_unsigned() && number.get<std::uint64_t>() < world;
    if (!is_rank || seen[number.get<std::uint64_t>()]) {
      fail(ErrorKind::invalid_argument, "{}: entry {} is not a rank below {} that came once; {}",
           path, order.size(), world, remedy);
    }
    seen[number.get<std::uint64_t>()] = true;
    order.push_back(Rank{number.get<std::uint32_t>()});
  }
  return order;
}

}  // namespace accl::perf
