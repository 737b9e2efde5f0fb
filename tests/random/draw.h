// draw.h - what a seed stands for: the job that is run, and the calls of each communicator in it.
// Every rank draws the same from the same seed, without talking to the others.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "accl/base/types.h"

namespace accl::test {

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : random_(seed) {}
  std::uint64_t below(std::uint64_t end) { return random_() % end; }
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  std::uint64_t next() { return random_(); }

 private:
  std::mt19937_64 random_;
};

// The processes of one run, and the communicators of all ranks they make. Each communicator is
// driven by a thread of its own on every rank, all at the same time.
struct Job {
  std::uint64_t seed = 0;
  std::uint32_t ranks = 1;
  std::string transport;
  std::vector<std::string> hosts;       // By rank; empty: all on this one.
  std::vector<std::string> algorithms;  // One a communicator.
};
Job draw_job(std::uint64_t seed);

enum class Way : std::uint8_t { blocking, started, paired };  // paired: accl_send and accl_recv.

// One call, as all ranks of its communicator know it.
struct Draw {
  Collective collective{};
  DataType type{};
  ReduceOp op{};
  std::size_t count = 0;
  std::uint32_t root = 0;
  std::uint32_t shift = 0;  // sendrecv: to the rank this far ahead.
  Way way = Way::blocking;
  std::uint64_t salt = 0;  // Of the data.
};
// A call that `algorithm` can run on this many ranks.
Draw draw_call(Dice& dice, std::uint32_t ranks, const std::string& algorithm);
std::string describe(const Draw& draw);

// Elements that `from` has for `to` in an alltoallv.
std::size_t elements_between(const Draw& draw, std::uint32_t from, std::uint32_t to);

}  // namespace accl::test
