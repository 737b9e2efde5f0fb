// tree.h - who is joined to whom in a session: a binary tree (the parent of rank r is (r-1)/2), and
// on every host a ring of its ranks, so that each process has a neighbour who sees its pid. Pure
// functions of what every rank knows.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "accl/bootstrap/session.h"

namespace accl::bootstrap {

// The ranks that `self` keeps a socket to all the time, ascending; at most five of them. The
// relation is mutual.
std::vector<std::uint32_t> neighbours(std::span<const Member> members, std::uint32_t self);

// The ranks `self` must be joined to so that the tree hangs together without those that are gone:
// its nearest living ancestor (the lowest living rank where it has none), and likewise downwards.
std::vector<std::uint32_t> bridges(std::uint32_t size, std::uint32_t self,
                                   const std::function<bool(std::uint32_t)>& gone);

}  // namespace accl::bootstrap
