#include "topology/mapping/launch.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "accl/base/error.h"

namespace accl::topology {

namespace {

// One rank a NIC. With more GPUs than NICs, the first of those that share the NIC; with fewer, by
// turns.
std::uint32_t gpu_of(const Server& server, std::uint32_t place) {
  const auto nics = static_cast<std::uint32_t>(server.nics.size());
  if (server.gpus == 0) return place;
  return server.gpus >= nics ? place * server.gpus / nics : place % server.gpus;
}

}  // namespace

RankMap rank_map_of(const Fabric& fabric, const Mapping& mapping) {
  RankMap map{.fabric = fabric.name,
              .algorithm = mapping.algorithm,
              .first = mapping.shape.first == First::near ? "near" : "far",
              .width = mapping.shape.width,
              .seats = {}};
  for (std::uint32_t p = 0; p < mapping.seats.size(); ++p) {
    const Nic& nic = fabric.at(mapping.seats.nics[p]);
    const Switch& at = fabric.at(nic.at);
    map.seats.push_back({.rank = Rank{p},
                         .host = fabric.at(nic.server).name,
                         .gpu = gpu_of(fabric.at(nic.server), nic.place),
                         .nic = nic.name,
                         .side = std::string(name_of(at.side)),
                         .at = at.name,
                         .port = nic.port,
                         .lane = mapping.seats.lanes[p],
                         .own_lanes = {}});
  }
  for (const auto& [connection, lane] : mapping.seats.own_lanes) {
    const Rank to{static_cast<std::uint32_t>(connection)};
    map.seats[connection >> 32].own_lanes.emplace_back(to, lane);
  }
  for (Seat& seat : map.seats) std::ranges::sort(seat.own_lanes);
  return map;
}

std::string print_hostfile(const RankMap& map) {
  std::string text;
  for (const Seat& seat : map.seats) text += seat.host + "\n";
  return text;
}

std::string print_rankfile(const RankMap& map) {
  std::string text;
  for (const Seat& seat : map.seats) {
    text += fmt::format("rank {}={} slot=*:*\n", index(seat.rank), seat.host);
  }
  return text;
}

std::string print_torchrun(const RankMap& map, const std::string& map_path) {
  std::vector<std::string> hosts;  // By their first position.
  std::map<std::string, std::uint32_t> processes;
  for (const Seat& seat : map.seats) {
    if (processes[seat.host]++ == 0) hosts.push_back(seat.host);
  }
  const std::uint32_t each = processes[hosts.front()];
  std::string text = "# On each host its line. Names are not sorted: --node-rank decides.\n";
  for (const auto& [host, count] : processes) {
    if (count == each) continue;
    text += fmt::format("# {} runs {} processes where {} runs {}: torchrun wants equal numbers.\n",
                        host, count, hosts.front(), each);
  }
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    text += fmt::format(
        "{}: ACCL_RANK_MAP={} torchrun --nnodes={} --nproc-per-node={} --node-rank={} "
        "--rdzv-backend=static --master-addr={} --master-port=29500 train.py\n",
        hosts[i], map_path, hosts.size(), processes[hosts[i]], i, hosts.front());
  }
  return text;
}

std::string print_map(const RankMap& map, std::string_view format) {
  if (format == "json") return print_rank_map(map);
  if (format == "hostfile") return print_hostfile(map);
  if (format == "rankfile") return print_rankfile(map);
  if (format == "slurm") return print_hostfile(map);
  if (format == "torchrun") return print_torchrun(map, "rankmap.json");
  fail(ErrorKind::invalid_argument,
       "--format {}: choose json, hostfile, rankfile, slurm or torchrun", format);
}

}  // namespace accl::topology
