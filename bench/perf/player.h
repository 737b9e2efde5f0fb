// player.h - one rank's part: does what rank 0 commands. Rank 0 has a player too, and one Conductor
// (conductor.h) that writes the commands.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "accl/communicator.h"
#include "bench/perf/buffers.h"
#include "bench/perf/cases.h"
#include "bench/perf/options.h"
#include "bench/perf/pattern.h"
#include "transport/trace/trace.h"

namespace accl::perf {

// What all ranks do next. Sent as it lies in memory: all ranks run the same program.
struct Command {
  enum class Kind : std::uint32_t { time, check, count, stop };

  Kind kind = Kind::stop;
  std::uint32_t row = 0;       // Of the cases that every rank made from the same options.
  std::uint32_t in_place = 0;  // 0 or 1.
  std::uint32_t exit_code = 0;
  std::uint64_t warmup = 0;      // time: iterations before.
  std::uint64_t iterations = 1;  // time: in batches that are timed as one.
  std::uint64_t batch = 1;
  std::uint64_t seed = 0;  // Of the data.
};

// A check's findings on one rank.
struct Damage {
  std::uint64_t wrong = 0;  // Elements of the result.
  std::uint64_t outside =
      0;  // Bytes written outside of the result: guards, inputs, others' outputs.
};

// What one rank sent another. Travels as it lies in memory.
struct Flow {
  std::uint32_t from = 0, to = 0;
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;  // Of their payloads.
};

class Player {
 public:
  // Buffers are as large as the largest of `cases` needs. Collective where traffic is counted.
  Player(Communicator& communicator, const Options& options, std::span<const Case> cases);

  // Seconds per iteration of each batch, in order.
  std::vector<double> time(const Command& command);
  Damage check(const Command& command);
  // What this rank sends in one iteration out of place, by peer, in the order in which it met them.
  std::vector<Flow> count(const Command& command);

 private:
  struct Bytes {
    std::size_t send = 0, recv = 0;
  };

  // One iteration: all calls of the row, -m times.
  void iterate(std::span<const Call> calls);
  void barrier();
  std::vector<Call> calls(const Case& row, bool in_place);
  Bytes bytes_of(const Case& row) const;
  PatternKey key(const Case& row, std::uint64_t seed) const;
  Pattern input(const Case& row, std::uint64_t seed) const;
  void write_inputs(const Case& row, bool in_place, const Pattern& pattern);
  Damage check_result(const Case& row, bool in_place, std::uint64_t seed);
  std::uint64_t count_wrong(const Case& row, std::span<const std::byte> result,
                            std::uint64_t seed) const;
  bool receives(const Case& row) const;
  std::size_t place_of_result(const Case& row, bool in_place) const;

  Communicator& communicator_;
  // Beside the one that is timed, which must not pay for it; null where nothing is counted.
  std::shared_ptr<TransportCounters> counters_;
  std::unique_ptr<Communicator> counting_;
  const Options& options_;
  std::span<const Case> cases_;
  GuardedBuffer send_;
  GuardedBuffer recv_;  // In place: the one buffer.
};

}  // namespace accl::perf
