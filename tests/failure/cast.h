// cast.h - ranks that are there to be killed: real processes with a communicator made through the C
// interface, which call collectives until one fails, and then say what it said, when, and whether
// they left anything open.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "accl/accl.h"
#include "tests/bootstrap/crew.h"

namespace accl::test {

// What every rank of a play does.
struct Plot {
  std::uint32_t ranks = 4;
  std::string transport = "auto";
  std::string algorithm = "auto";
  std::string call = "allreduce";  // One of call_names().
  std::size_t count = 1000;        // Elements; a block's where data comes in blocks.
  int timeout_ms = 20'000;
  std::uint64_t most_calls = 0;  // Then it ends well; 0: calls until one fails.
  std::int64_t absent = -1;      // This rank makes no call, and sleeps.
};

// The collectives by accl-perf's names, and: "send" (a chain of sends and receives), "started" (an
// allreduce that is waited for later), "part" (allreduces of a communicator that was split off).
std::vector<std::string> call_names();

// What a survivor says.
struct Ending {
  bool is_heard = false;
  int result = 0;
  std::int64_t at_ms = 0;  // Of now_ms(), when the call returned.
  int left_open = 0;       // Descriptors more than before it began.
  std::string text;
};

std::int64_t now_ms();  // The same clock for all processes.

// A rank's whole part. It says "ready" when it has its communicator, waits to be told to go, says
// its ending, and waits to be let go.
std::string perform(const Plot& plot, const UniqueId& id, Stage& stage);

// What the rank says next, "ready" left out.
Ending hear_ending(Crew& crew, std::uint32_t rank, int timeout_ms);

// Names in /dev/shm and /tmp that are ours.
std::vector<std::string> litter();

}  // namespace accl::test
