// seen_paths.h - paths that flows were seen to take. Where a fabric can be asked, nothing about its
// hash need be guessed.
//
// A file has a flow a line, and may have comments ('#'): the NIC it starts at, the NIC it ends at,
// and the switches that it passed, in order:
//
//   server00/mlx5_0 server03/mlx5_1 upper0 lower3 upper1
//
// Where several cables join two switches, the number of the right one stands between them:
// "upper0 C0102 lower3". The way back is a flow of its own.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "topology/fabric/condition.h"

namespace accl::topology {

class SeenPaths {
 public:
  // Throws Error(invalid_argument) with file and line for a name that is not of the fabric, for
  // neighbours in a path that no living cable joins or that more than one does, for a path whose
  // ends are not at the switches of its NICs or that passes a switch twice, and for a flow that
  // comes twice. `path` is for messages.
  static SeenPaths parse(const Fabric& fabric, const Condition& condition, std::string_view text,
                         const std::string& path);
  static SeenPaths load(const Fabric& fabric, const Condition& condition, const std::string& path);

  // The links from NIC to NIC; empty: not seen.
  std::span<const LinkId> find(NicId from, NicId to) const;

 private:
  std::unordered_map<std::uint64_t, std::vector<LinkId>> paths_;  // By both NICs.
};

}  // namespace accl::topology
