// observed.h - what readers of a built fabric saw, compared with the plan of a small one.
#pragma once

#include "tests/fuzz/feed.h"
#include "tests/topology/built.h"
#include "topology/check/compare.h"
#include "topology/check/readers.h"

namespace accl::fuzz {

inline void compare_with_plan(const topology::Observation& seen) {
  static const topology::Built built = topology::build(topology::tiny);
  static const topology::Ports ports(built.fabric, built.plan.rules.ports);
  topology::compare(built.fabric, ports, seen);
}

}  // namespace accl::fuzz
