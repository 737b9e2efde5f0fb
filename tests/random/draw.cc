#include "tests/random/draw.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "accl/base/mix.h"
#include "algorithms/catalog.h"

namespace accl::test {
namespace {

// Of all ranks' blocks together.
constexpr std::size_t most_bytes = std::size_t{3} << 20;

constexpr std::array<std::size_t, 12> primes{2, 3, 5, 7, 11, 13, 17, 101, 1009, 4093, 8191, 16411};

// Most jobs are small: what goes wrong with twelve ranks mostly goes wrong with five, and a machine
// of few cores runs many more of those.
constexpr std::array<std::uint32_t, 16> sizes{1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 6, 7, 8, 12};

std::vector<std::string> all_algorithms() {
  std::vector<std::string> names{"auto", "auto"};
  for (const Algorithm& algorithm : algorithms()) names.emplace_back(algorithm.name);
  std::sort(names.begin() + 2, names.end());
  names.erase(std::unique(names.begin() + 2, names.end()), names.end());
  return names;
}

std::size_t draw_count(Dice& dice) {
  const std::uint64_t kind = dice.below(1000);
  if (kind < 80) return 0;
  if (kind < 180) return 1;
  if (kind < 600) return 1 + dice.below(64);
  if (kind < 750) return primes[dice.below(primes.size())];
  if (kind < 970) return dice.below(4096);
  if (kind < 997) return dice.below(60'000);
  return dice.below(1'000'000);
}

// By its own name an algorithm runs only where it is defined; every other call is chosen for.
bool fits(Collective collective, const std::string& name, std::uint32_t ranks) {
  const Algorithm* const algorithm = find_algorithm(collective, name);
  return algorithm == nullptr || algorithm->fits({.size = ranks, .width = 1});
}

bool has_start(Collective c) {
  return c == Collective::allreduce || c == Collective::reduce_scatter ||
         c == Collective::allgather || c == Collective::broadcast;
}

}  // namespace

Job draw_job(std::uint64_t seed) {
  static const std::vector<std::string> names = all_algorithms();
  Dice dice(mix(seed + 1));
  Job job;
  job.seed = seed;
  job.ranks = sizes[dice.below(sizes.size())];
  job.transport = std::array{"auto", "shm", "tcp"}[dice.below(3)];
  const bool has_hosts = job.transport == "auto" && dice.one_in(2);
  const std::uint32_t hosts = 2 + static_cast<std::uint32_t>(dice.below(2));
  const bool neighbours = dice.one_in(2);
  for (std::uint32_t rank = 0; has_hosts && rank < job.ranks; ++rank) {
    const std::uint32_t host = neighbours ? rank * hosts / job.ranks : rank % hosts;
    job.hosts.push_back(fmt::format("host {}", host));
  }
  const std::uint64_t threads = 1 + dice.below(3);
  for (std::uint64_t i = 0; i < threads; ++i) {
    job.algorithms.push_back(names[dice.below(names.size())]);
  }
  return job;
}

Draw draw_call(Dice& dice, std::uint32_t ranks, const std::string& algorithm) {
  Draw draw;
  do {
    draw.collective = static_cast<Collective>(dice.below(collective_count));
  } while (!fits(draw.collective, algorithm, ranks));
  draw.type = static_cast<DataType>(dice.below(data_type_count));
  draw.op = static_cast<ReduceOp>(dice.below(reduce_op_count));
  draw.count = std::min(draw_count(dice), most_bytes / size_of(draw.type) / ranks);
  draw.root = static_cast<std::uint32_t>(dice.below(ranks));
  draw.shift = static_cast<std::uint32_t>(dice.below(ranks));
  if (has_start(draw.collective) && dice.one_in(3)) draw.way = Way::started;
  if (draw.collective == Collective::sendrecv && dice.one_in(2)) draw.way = Way::paired;
  draw.salt = dice.next();
  return draw;
}

std::string describe(const Draw& draw) {
  constexpr std::array ways{"", ", started", ", as send and recv"};
  return fmt::format("{} of {} {} ({}, root {}, shift {}{})", name_of(draw.collective), draw.count,
                     name_of(draw.type), name_of(draw.op), draw.root, draw.shift,
                     ways[static_cast<std::size_t>(draw.way)]);
}

std::size_t elements_between(const Draw& draw, std::uint32_t from, std::uint32_t to) {
  const std::uint64_t bits = mix(draw.salt + from * 1000 + to);
  return bits % 4 == 0 || draw.count == 0 ? 0 : (bits >> 8) % draw.count;
}

}  // namespace accl::test
