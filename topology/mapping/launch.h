// launch.h - a mapping as the files and commands that make launchers obey it.
#pragma once

#include <string>
#include <string_view>

#include "topology/mapping/mapper.h"
#include "topology/mapping/rank_map.h"

namespace accl::topology {

// Rank k sits at position k: one rank a NIC, on a GPU of its own if there are as many.
RankMap rank_map_of(const Fabric& fabric, const Mapping& mapping);

// One host a line, rank by rank: Open MPI (--map-by seq), MPICH (-f), and Slurm (SLURM_HOSTFILE
// with srun -m arbitrary).
std::string print_hostfile(const RankMap& map);

// Open MPI 4's --rankfile. Ranks are not bound: which cores are near a GPU is not in the spec.
std::string print_rankfile(const RankMap& map);

// A command a host with static rendezvous: the node rank is given, not sorted from host names. The
// processes of a host have consecutive ranks; ACCL_RANK_MAP puts them where the map wants them.
std::string print_torchrun(const RankMap& map, const std::string& map_path);

// json, hostfile, rankfile, slurm or torchrun.
std::string print_map(const RankMap& map, std::string_view format);

}  // namespace accl::topology
