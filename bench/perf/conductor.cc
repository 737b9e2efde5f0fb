#include "bench/perf/conductor.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "accl/base/assert.h"
#include "transport/fault/fault.h"

namespace accl::perf {
namespace {

constexpr double batch_us = 20;     // Reading a clock costs 20 to 40 ns.
constexpr double block_us = 5'000;  // What one measurement should last, without -n.
constexpr std::uint64_t most_iterations = 50'000;
// A block that follows others' (or sleep) needs its caches and cores back.
constexpr double warmup_us = 1'000;

template <class T>
std::span<std::byte> bytes_of(T& value) {
  return std::as_writable_bytes(std::span(&value, 1));
}

template <class T>
std::vector<T> as_values(std::span<const std::byte> bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
  return values;
}

// Mean per iteration; the last batch may be a short one.
double mean(std::span<const double> batches, const Pace& pace) {
  double sum = 0;
  std::uint64_t left = pace.iterations;
  for (const double batch : batches) {
    const std::uint64_t run = std::min(left, pace.batch);
    sum += batch * static_cast<double>(run);
    left -= run;
  }
  return sum / static_cast<double>(pace.iterations);
}

double over_ranks(const std::vector<double>& means, std::uint64_t mode) {
  switch (mode) {
    case 0:
      return means.front();
    case 2:
      return std::ranges::min(means);
    case 3:
      return std::ranges::max(means);
    default:
      break;
  }
  return std::accumulate(means.begin(), means.end(), 0.0) / static_cast<double>(means.size());
}

std::vector<double> slowest_rank(const std::vector<std::vector<double>>& by_rank) {
  std::vector<double> slowest = by_rank.front();
  for (const std::vector<double>& rank : by_rank) {
    ACCL_ASSERT(rank.size() == slowest.size(), rank.size(), slowest.size());
    std::ranges::transform(slowest, rank, slowest.begin(),
                           [](double a, double b) { return std::max(a, b); });
  }
  return slowest;
}

// "flip:3" -> 3: what changes the third message must meet a checked call, not a timed one.
std::uint64_t messages_to_check(const std::string& fault) {
  constexpr std::uint64_t most = 1000;
  if (fault.empty()) return 0;
  const FaultPlan plan = parse_fault(fault);
  const bool changes = plan.kind == FaultKind::flip || plan.kind == FaultKind::truncate;
  return changes ? std::min(plan.k, most) : 0;
}

std::uint64_t ratio(double part_us, double whole_us) {
  return static_cast<std::uint64_t>(std::ceil(part_us / std::max(whole_us, 1e-3)));
}

}  // namespace

double median(std::vector<double> values) {
  ACCL_ASSERT(!values.empty());
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

Pace pace_for(double iteration_us, double block_us, std::uint64_t most_iterations) {
  Pace pace;
  pace.iterations = std::clamp(ratio(block_us, iteration_us), std::uint64_t{1},
                               std::max<std::uint64_t>(most_iterations, 1));
  pace.batch = std::clamp(ratio(batch_us, iteration_us), std::uint64_t{1}, pace.iterations);
  pace.warmup = std::clamp(ratio(warmup_us, iteration_us), std::uint64_t{1}, std::uint64_t{2000});
  return pace;
}

Conductor::Conductor(Star& star, Player& player, const Options& options,
                     std::span<const Case> cases)
    : star_(star),
      player_(player),
      options_(options),
      cases_(cases),
      checks_(options.check == 0 ? 0 : std::max(options.check, messages_to_check(options.fault))) {}

Measurement Conductor::block(std::uint32_t row, bool in_place, const Pace& pace) {
  Command command{Command::Kind::time, row,  in_place ? 1U : 0U, 0, pace.warmup, pace.iterations,
                  pace.batch,          seed_};
  star_.broadcast(bytes_of(command));
  std::vector<double> mine = player_.time(command);
  const auto answers = star_.gather(std::as_bytes(std::span(mine)));
  Measurement result;
  std::vector<double> means;
  for (const auto& answer : answers) {
    std::vector<double> batches = as_values<double>(answer);
    for (double& batch : batches) batch *= 1e6;
    means.push_back(mean(batches, pace));
    result.by_rank_us.push_back(std::move(batches));
  }
  const std::vector<double> slowest = slowest_rank(result.by_rank_us);
  result.time_us = over_ranks(means, options_.average);
  result.median_us = median(slowest);
  result.min_us = std::ranges::min(slowest);
  result.max_us = std::ranges::max(slowest);
  result.iterations = pace.iterations;
  return result;
}

// Runs the warm-up that was asked for, and sees from it how long an iteration takes.
Pace Conductor::find_pace(std::uint32_t row, bool in_place, unsigned blocks) {
  double one_us = block(row, in_place, {options_.warmup, 1, 1}).time_us;
  if (one_us < 10 * batch_us) one_us = block(row, in_place, {0, 16, 16}).time_us;
  std::uint64_t iterations = options_.iterations;
  if (!options_.iterations_given && !options_.per_iteration) {
    const std::uint64_t wanted = ratio(block_us * std::min(blocks, 4U), one_us);
    iterations = std::clamp(wanted, options_.iterations, most_iterations);
  }
  iterations = (iterations + blocks - 1) / blocks;
  // As many as that, however long they take.
  Pace pace = pace_for(one_us, 2 * one_us * static_cast<double>(iterations), iterations);
  if (blocks == 1) pace.warmup = 0;
  if (options_.per_iteration || options_.blocking == 3) pace.batch = 1;
  return pace;
}

void Conductor::check(std::uint32_t row, bool in_place, Measurement& into) {
  for (std::uint64_t i = 0; i < checks_; ++i) {
    Command command{Command::Kind::check, row, in_place ? 1U : 0U, 0, 0, 1, 1, ++seed_};
    star_.broadcast(bytes_of(command));
    Damage mine = player_.check(command);
    for (const auto& answer : star_.gather(bytes_of(mine))) {
      Damage damage;
      ACCL_ASSERT(answer.size() == sizeof damage, answer.size());
      std::memcpy(&damage, answer.data(), sizeof damage);
      into.wrong += damage.wrong;
      into.outside += damage.outside;
    }
  }
}

Measurement Conductor::measure(std::uint32_t row, bool in_place, unsigned blocks,
                               const Between& between) {
  Measurement checked;
  check(row, in_place, checked);
  const Pace pace = find_pace(row, in_place, blocks);
  Measurement result = block(row, in_place, pace);
  if (between) between(pace, result);
  std::vector<double> times{result.time_us};
  std::vector<double> medians{result.median_us};
  for (unsigned i = 1; i < blocks; ++i) {
    const Measurement next = block(row, in_place, pace);
    if (between) between(pace, next);
    times.push_back(next.time_us);
    medians.push_back(next.median_us);
    result.min_us = std::min(result.min_us, next.min_us);
    result.max_us = std::max(result.max_us, next.max_us);
    result.iterations += next.iterations;
  }
  result.time_us = std::accumulate(times.begin(), times.end(), 0.0) / blocks;
  result.median_us = median(medians);
  check(row, in_place, checked);
  result.wrong = checked.wrong;
  result.outside = checked.outside;
  return result;
}

std::vector<Flow> Conductor::count(std::uint32_t row) {
  Command command{Command::Kind::count, row, 0, 0, 0, 1, 1, seed_};
  star_.broadcast(bytes_of(command));
  const std::vector<Flow> mine = player_.count(command);
  std::vector<Flow> all;
  for (const auto& answer : star_.gather(std::as_bytes(std::span(mine)))) {
    const std::vector<Flow> flows = as_values<Flow>(answer);
    all.insert(all.end(), flows.begin(), flows.end());
  }
  std::ranges::sort(all, {}, [](const Flow& flow) { return std::pair(flow.from, flow.to); });
  return all;
}

void Conductor::stop(std::uint32_t exit_code) {
  Command command;
  command.exit_code = exit_code;
  star_.broadcast(bytes_of(command));
}

int play(Star& star, Player& player) {
  while (true) {
    Command command;
    star.broadcast(bytes_of(command));
    if (command.kind == Command::Kind::stop) return static_cast<int>(command.exit_code);
    if (command.kind == Command::Kind::time) {
      const std::vector<double> batches = player.time(command);
      static_cast<void>(star.gather(std::as_bytes(std::span(batches))));
    } else if (command.kind == Command::Kind::count) {
      const std::vector<Flow> flows = player.count(command);
      static_cast<void>(star.gather(std::as_bytes(std::span(flows))));
    } else {
      Damage damage = player.check(command);
      static_cast<void>(star.gather(bytes_of(damage)));
    }
  }
}

}  // namespace accl::perf
