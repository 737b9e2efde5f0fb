// play.h - one rank's part in a job: makes the communicators, and drives each from a thread of its
// own through the calls that its seed stands for.
#pragma once

#include <string>

#include "accl/bootstrap/unique_id.h"
#include "tests/random/draw.h"

namespace accl::test {

// The same on all ranks; one id a communicator.
struct Script {
  Job job;
  std::vector<UniqueId> ids;
  std::uint32_t calls = 0;  // Of each communicator.
};

// Empty if all went well, else what did not, and where.
std::string play(const Script& script, std::uint32_t rank);

}  // namespace accl::test
