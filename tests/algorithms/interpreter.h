// interpreter.h - runs a plan on numbers, apart from the verifier: chunks of several sizes in real
// memory, positions taking turns at random, a random window. For tests that ask whether a plan the
// verifier lets pass does compute what its collective promises.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "algorithms/verify.h"

namespace accl::test {

// What goes wrong in one run with this seed, or nothing. The plan must have passed the shape check.
std::optional<std::string> run_plan(const PlanSet& plan, bool in_place, std::uint64_t seed);

}  // namespace accl::test
