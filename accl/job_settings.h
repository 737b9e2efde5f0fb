// job_settings.h - what rank 0 reads from files and every rank of the job obeys: one text, sent
// when the job comes together.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "accl/bootstrap/session.h"
#include "topology/mapping/rank_map.h"

namespace accl {

struct JobSettings {
  std::string selection;  // A table (algorithms/selection.h); empty: the built-in one.
  std::string rank_map;   // rankmap.json; empty: rank r sits at position r.

  std::string pack() const;
  static JobSettings unpack(const std::string& text);
};

// Position -> rank, for a job of these processes: the k-th rank of a host takes the k-th seat that
// the map has there, by GPU number, whatever numbers the launcher gave. A job on one host under a
// map of several is a rehearsal: there the map's own rank numbers count. Throws
// Error(invalid_argument) that names the host on which job and map differ.
std::vector<Rank> order_of(const topology::RankMap& map, std::span<const Member> members);

// The lanes that the map gives what this rank sends, by the rank it goes to; `order` is order_of().
// Empty where all lanes of the map are alike: then it tells nothing of paths.
std::vector<std::uint32_t> lanes_of(const topology::RankMap& map, std::span<const Rank> order,
                                    Rank self);

// A warning for people if this host has RDMA devices and none of them is the NIC that the map gives
// this seat; else empty. `devices` is where the kernel lists them.
std::string missing_nic(const topology::Seat& seat,
                        const std::string& devices = "/sys/class/infiniband");

}  // namespace accl
