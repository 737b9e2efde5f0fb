#include "accl/bootstrap/tree.h"

#include <algorithm>
#include <set>

namespace accl::bootstrap {
namespace {

using Gone = std::function<bool(std::uint32_t)>;

std::uint32_t parent_of(std::uint32_t rank) { return (rank - 1) / 2; }

// Living ranks below `top` (itself too) that have a gone rank or nothing right above them.
void living_tops(std::uint64_t top, std::uint32_t size, const Gone& gone,
                 std::vector<std::uint32_t>& found) {
  if (top >= size) return;
  const auto rank = static_cast<std::uint32_t>(top);
  if (!gone(rank)) {
    found.push_back(rank);
    return;
  }
  living_tops(2 * top + 1, size, gone, found);
  living_tops(2 * top + 2, size, gone, found);
}

// The next and the previous rank on the same host, in a ring.
void add_ring(std::span<const Member> members, std::uint32_t self, std::set<std::uint32_t>& found) {
  const auto size = static_cast<std::uint32_t>(members.size());
  const auto is_local = [&](std::uint32_t rank) {
    return members[rank].host_id == members[self].host_id;
  };
  for (const std::uint32_t step : {1u, size - 1}) {
    std::uint32_t rank = (self + step) % size;
    while (!is_local(rank)) rank = (rank + step) % size;  // Ends at self.
    found.insert(rank);
  }
}

}  // namespace

std::vector<std::uint32_t> neighbours(std::span<const Member> members, std::uint32_t self) {
  const auto size = static_cast<std::uint32_t>(members.size());
  std::set<std::uint32_t> found;
  if (self != 0) found.insert(parent_of(self));
  for (const std::uint64_t child : {2 * std::uint64_t{self} + 1, 2 * std::uint64_t{self} + 2}) {
    if (child < size) found.insert(static_cast<std::uint32_t>(child));
  }
  add_ring(members, self, found);
  found.erase(self);
  return {found.begin(), found.end()};
}

std::vector<std::uint32_t> bridges(std::uint32_t size, std::uint32_t self, const Gone& gone) {
  std::vector<std::uint32_t> found;
  living_tops(2 * std::uint64_t{self} + 1, size, gone, found);
  living_tops(2 * std::uint64_t{self} + 2, size, gone, found);
  std::uint32_t ancestor = self;
  while (ancestor != 0) {
    ancestor = parent_of(ancestor);
    if (!gone(ancestor)) {
      found.push_back(ancestor);
      return found;
    }
  }
  // Nobody above lives: all such tops hang on the lowest living rank.
  std::vector<std::uint32_t> tops;
  living_tops(
      0, size, [&](std::uint32_t rank) { return rank != self && gone(rank); }, tops);
  const std::uint32_t lowest = *std::min_element(tops.begin(), tops.end());
  if (lowest != self) {
    found.push_back(lowest);
  } else {
    found.insert(found.end(), tops.begin(), tops.end());
    std::erase(found, self);
  }
  return found;
}

}  // namespace accl::bootstrap
