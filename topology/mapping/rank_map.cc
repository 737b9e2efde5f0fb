#include "topology/mapping/rank_map.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "accl/base/error.h"
#include "accl/base/text_file.h"

namespace accl::topology {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* remedy = "make it with 'accl-topo map SPEC.yaml --format json > map.json'";
constexpr std::size_t max_map_bytes = 32 << 20;
constexpr int max_depth = 8;

// Reads the values of one entry; what is there must have the right type.
class Entry {
 public:
  Entry(const Json& json, const std::string& path, std::size_t number)
      : json_(json), path_(path), number_(number) {
    if (!json.is_object()) complain("is no object");
  }

  std::string text(const char* key) const {
    const auto found = json_.find(key);
    if (found == json_.end()) return {};
    if (!found->is_string()) complain(fmt::format("has a {} that is no text", key));
    return found->get<std::string>();
  }
  std::uint32_t number(const char* key) const {
    const auto found = json_.find(key);
    if (found == json_.end()) return 0;
    const bool is_good = found->is_number_unsigned() && found->get<std::uint64_t>() < 1u << 31;
    if (!is_good) complain(fmt::format("has a {} that is no whole number", key));
    return found->get<std::uint32_t>();
  }
  // Pairs of numbers: rank and lane.
  std::vector<std::pair<Rank, std::uint32_t>> lanes(const char* key) const {
    std::vector<std::pair<Rank, std::uint32_t>> pairs;
    const auto found = json_.find(key);
    if (found == json_.end()) return pairs;
    if (!found->is_array()) complain(fmt::format("has {} that are no list", key));
    for (const Json& pair : *found) {
      const auto is_number = [](const Json& value) {
        return value.is_number_unsigned() && value.get<std::uint64_t>() < 1u << 31;
      };
      const bool is_pair =
          pair.is_array() && pair.size() == 2 && is_number(pair[0]) && is_number(pair[1]);
      if (!is_pair) complain(fmt::format("has {} that are no [rank, lane] pairs", key));
      pairs.emplace_back(Rank{pair[0].get<std::uint32_t>()}, pair[1].get<std::uint32_t>());
    }
    return pairs;
  }
  bool has(const char* key) const { return json_.contains(key); }

  [[noreturn]] void complain(const std::string& what) const {
    fail(ErrorKind::invalid_argument, "{}: entry {} of ranks {}; {}", path_, number_, what, remedy);
  }

 private:
  const Json& json_;
  const std::string& path_;
  std::size_t number_;
};

Json parse_json(std::string_view text, const std::string& path) {
  if (text.size() > max_map_bytes) {
    fail(ErrorKind::invalid_argument, "{}: holds more than {} MiB; {}", path, max_map_bytes >> 20,
         remedy);
  }
  const auto refuse_depth = [&](int depth, Json::parse_event_t, Json&) {
    if (depth <= max_depth) return true;
    fail(ErrorKind::invalid_argument, "{}: nests deeper than a map does; {}", path, remedy);
  };
  try {
    return Json::parse(text, refuse_depth);
  } catch (const Json::parse_error& error) {
    const auto line = std::ranges::count(text.substr(0, error.byte), '\n') + 1;
    fail(ErrorKind::invalid_argument, "{}:{}: is no JSON here; {}", path, line, remedy);
  } catch (const Json::exception& error) {
    fail(ErrorKind::invalid_argument, "{}: {}; {}", path, error.what(), remedy);
  }
}

Seat read_seat(const Entry& entry, std::vector<bool>& seen) {
  if (!entry.has("rank")) entry.complain("has no rank");
  Seat seat{.rank = Rank{entry.number("rank")},
            .host = entry.text("host"),
            .gpu = entry.number("gpu"),
            .nic = entry.text("nic"),
            .side = entry.text("side"),
            .at = entry.text("switch"),
            .port = entry.number("port"),
            .lane = entry.number("lane"),
            .own_lanes = entry.lanes("lanes")};
  if (index(seat.rank) >= seen.size()) {
    entry.complain(fmt::format("has rank {} of {}", index(seat.rank), seen.size()));
  }
  if (seen[index(seat.rank)]) {
    entry.complain(fmt::format("has rank {}, which came before", index(seat.rank)));
  }
  seen[index(seat.rank)] = true;
  return seat;
}

}  // namespace

std::uint32_t Seat::lane_to(Rank to) const {
  for (const auto& [other, own] : own_lanes) {
    if (other == to) return own;
  }
  return lane;
}

std::vector<Rank> RankMap::order() const {
  std::vector<Rank> order;
  for (const Seat& seat : seats) order.push_back(seat.rank);
  return order;
}

std::string print_rank_map(const RankMap& map) {
  std::string text = fmt::format(
      "{{\"version\": 1, \"fabric\": {}, \"algorithm\": {}, \"first\": {}, \"width\": {},\n"
      " \"ranks\": [",
      Json(map.fabric).dump(), Json(map.algorithm).dump(), Json(map.first).dump(), map.width);
  const char* between = "\n  ";
  for (const Seat& seat : map.seats) {
    Json entry{{"rank", index(seat.rank)}, {"host", seat.host}, {"gpu", seat.gpu},
               {"nic", seat.nic},          {"side", seat.side}, {"switch", seat.at},
               {"port", seat.port},        {"lane", seat.lane}};
    for (const auto& [to, lane] : seat.own_lanes) entry["lanes"].push_back({index(to), lane});
    text += between + entry.dump();
    between = ",\n  ";
  }
  return text + "\n ]}\n";
}

RankMap parse_rank_map(std::string_view text, const std::string& path, std::uint32_t world) {
  const Json json = parse_json(text, path);
  const bool is_map = json.is_object() && json.contains("version") && json["version"] == 1 &&
                      json.contains("ranks") && json["ranks"].is_array();
  if (!is_map) {
    fail(ErrorKind::invalid_argument, "{}: not a version 1 rank map; {}", path, remedy);
  }
  const Json& ranks = json["ranks"];
  if (ranks.empty() || (world != 0 && ranks.size() != world)) {
    fail(ErrorKind::invalid_argument, "{}: holds {} ranks and this job has {}; {}", path,
         ranks.size(), world, remedy);
  }
  const Entry whole(json, path, 0);
  RankMap map{.fabric = whole.text("fabric"),
              .algorithm = whole.text("algorithm"),
              .first = whole.text("first"),
              .width = whole.has("width") ? whole.number("width") : 1,
              .seats = {}};
  std::vector<bool> seen(ranks.size(), false);
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    const Entry entry(ranks[i], path, i);
    map.seats.push_back(read_seat(entry, seen));
    for (const auto& [to, lane] : map.seats.back().own_lanes) {
      if (index(to) >= ranks.size()) {
        entry.complain(fmt::format("has a lane to rank {} of {}", index(to), ranks.size()));
      }
    }
  }
  if (map.width == 0 || ranks.size() % map.width != 0) {
    fail(ErrorKind::invalid_argument, "{}: width {} does not divide {} ranks; {}", path, map.width,
         ranks.size(), remedy);
  }
  return map;
}

std::string read_rank_map(const std::string& path) {
  try {
    return read_text(path, max_map_bytes);
  } catch (const Error& error) {
    fail(error.kind(), "{}; {}", error.what(), remedy);
  }
}

RankMap load_rank_map(const std::string& path, std::uint32_t world) {
  return parse_rank_map(read_rank_map(path), path, world);
}

}  // namespace accl::topology
