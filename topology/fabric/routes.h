// routes.h - which cables a message takes. Always a shortest path; where there are several, as the
// fabric chooses: between two switches that are joined directly, the cable of the sender's lane
// (Cable::lane; a source port can pin it), on a leaf-spine the spine of that place; else, and where
// nothing is pinned, by a hash of the flow, as ECMP does. A lane whose cable is dead or occupied
// stands for one of those that are left.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "topology/fabric/condition.h"

namespace accl::topology {

struct Flow {
  NicId from{};
  NicId to{};
  std::optional<std::uint32_t> lane;  // Without one the hash chooses.
  std::uint32_t label = 0;            // Told apart by the hash: the number of the QP.
};

class Routes {
 public:
  // Dead cables are left out. Occupied ones are taken by lanes only where no other is left between
  // the two switches; the hash knows nothing of them. `seed` stands for the switches' hash
  // function.
  Routes(const Fabric& fabric, const Condition& condition, std::uint64_t seed = 1);

  // Appends the links of the flow, from NIC to NIC. False, and nothing appended, without a path.
  bool append_path(const Flow& flow, std::vector<LinkId>& links) const;

  // Links that a flow between two directly joined switches may take: those that are free, or if
  // none is, those that others occupy too. Empty if they are not joined.
  std::span<const LinkId> between(SwitchId from, SwitchId to) const;

  // The lane that names the cable, or the spine, by which this path leaves its first switch.
  std::uint32_t lane_of(std::span<const LinkId> path) const;

  // Switches behind each other on a shortest path: 0 for the same, 1 for neighbours; none: no path.
  std::optional<std::uint32_t> distance(SwitchId from, SwitchId to) const;

 private:
  struct Neighbour {
    SwitchId to{};
    std::vector<LinkId> all;     // Alive.
    std::vector<LinkId> chosen;  // By lanes: the free ones, or all.
  };
  void find_neighbours(const Condition& condition);
  void find_distances();
  std::vector<std::uint16_t> distances_from(SwitchId start) const;
  const Neighbour* neighbour(SwitchId from, SwitchId to) const;
  LinkId hop(SwitchId at, SwitchId to, const Flow& flow) const;
  LinkId direct_hop(const Neighbour& neighbour, std::uint32_t lane) const;
  LinkId pinned_hop(std::span<const LinkId> ways, std::uint32_t lane) const;
  std::vector<LinkId> ways_to(SwitchId at, SwitchId to, bool is_pinned) const;

  const Fabric& fabric_;
  std::uint64_t seed_;
  std::vector<std::vector<Neighbour>> neighbours_;     // By switch, by number of the other.
  std::vector<std::vector<std::uint16_t>> distances_;  // By switch, by switch.
  std::vector<SwitchId> switch_of_node_;
  std::vector<bool> dead_;
};

}  // namespace accl::topology
