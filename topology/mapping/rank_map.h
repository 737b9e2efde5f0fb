// rank_map.h - rankmap.json: which rank sits at which position of the plan, and on which host, GPU,
// NIC, switch, port and lane. Written by accl-topo, read by the library.
//
//   {"version": 1, "fabric": NAME, "algorithm": "hd", "first": "far", "width": 1,
//    "ranks": [{"rank": 0, "host": "server00", "gpu": 0, "nic": "mlx5_0", "side": "upper",
//               "switch": "upper0", "port": 1, "lane": 0}, ...]}
//
// Entry k of `ranks` is position k. Only version and each entry's rank must be there. An entry with
// "lanes": [[RANK, LANE], ...] sends to these ranks by other lanes than its own.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "accl/base/ids.h"

namespace accl::topology {

struct Seat {
  Rank rank{};
  std::string host;  // Empty: not said.
  std::uint32_t gpu = 0;
  std::string nic;
  std::string side;
  std::string at;  // The switch.
  std::uint32_t port = 0;
  std::uint32_t lane = 0;
  std::vector<std::pair<Rank, std::uint32_t>> own_lanes;  // Of connections to these ranks.

  std::uint32_t lane_to(Rank to) const;
};

struct RankMap {
  std::string fabric;
  std::string algorithm;
  std::string first;
  std::uint32_t width = 1;
  std::vector<Seat> seats;  // By position.

  std::vector<Rank> order() const;  // Position -> rank.
};

std::string print_rank_map(const RankMap& map);

// Throws Error(invalid_argument) that names the file, what is wrong in it, and the remedy: not
// JSON, not version 1, a rank that is missing or comes twice, a value of another type. `world`: the
// ranks of the job, 0 for as many as the map holds.
RankMap parse_rank_map(std::string_view text, const std::string& path, std::uint32_t world);
std::string read_rank_map(const std::string& path);
RankMap load_rank_map(const std::string& path, std::uint32_t world);

}  // namespace accl::topology
