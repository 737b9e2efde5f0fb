// condition.h - what of a fabric may be used: hosts that take part, what is dead, and the cables
// that other jobs occupy.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "topology/fabric/fabric.h"

namespace accl::topology {

struct Condition {
  std::vector<bool> dead_cables;  // By CableId. A dead switch or server kills its cables.
  std::vector<bool> occupied;     // By CableId: used only where nothing else is left.
  std::vector<NicId> nics;        // That take part, in the order of the fabric.

  bool is_dead(CableId id) const { return dead_cables[index(id)]; }
  bool is_occupied(CableId id) const { return occupied[index(id)]; }
};

// Everything works and takes part.
Condition whole(const Fabric& fabric);

// Takes out the NICs of servers of which not all NICs take part, and returns those servers.
std::vector<ServerId> keep_whole_servers(const Fabric& fabric, Condition& condition);

// Names, one a line ('#' starts a comment), as in "FILE:LINE":
//   server03            the server and its NICs
//   server03/mlx5_1     one NIC (also server03:mlx5_1)
//   upper2              the switch and all its cables
//   C0012               one cable
//   upper2:17           the cable in that port
//   upper2--lower5      all cables between the two
// Throws Error(invalid_argument) with file, line and the name for one that is not of the fabric.
void take_hosts(const Fabric& fabric, const std::string& path, Condition& condition);
void take_dead(const Fabric& fabric, const std::string& path, Condition& condition);
void take_occupied(const Fabric& fabric, const std::string& path, Condition& condition);

// The same from lines; `path` is for messages.
void apply_hosts(const Fabric& fabric, std::string_view text, const std::string& path,
                 Condition& condition);
void apply_dead(const Fabric& fabric, std::string_view text, const std::string& path,
                Condition& condition);
void apply_occupied(const Fabric& fabric, std::string_view text, const std::string& path,
                    Condition& condition);

}  // namespace accl::topology
