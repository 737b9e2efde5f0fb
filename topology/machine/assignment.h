// assignment.h - the cheapest way to give every one of n users one of m resources that they share:
// min-cost flow by shortest augmenting paths. Exact, and the same on every run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace accl::topology {

// Compared from the first member on: no number of good `path`s makes up for one `off_switch` more.
struct UserCost {
  std::int64_t off_switch = 0;
  std::int64_t path = 0;
  std::int64_t tie = 0;  // Decides what is left, so that no order of search does.
};

// `costs` has a row of m for each user; `ports` how many users resource j serves before they have
// to share a port. Least first: the sum of off_switch; then crowding, the sum over resources of
// load * (load - 1) / ports, which is least when the loads are even; then path; then tie. Returns
// each user's resource; m must not be 0.
std::vector<std::size_t> assign(std::span<const UserCost> costs, std::span<const unsigned> ports);

}  // namespace accl::topology
