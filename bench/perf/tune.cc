#include "bench/perf/tune.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>

#include "accl/base/assert.h"
#include "accl/base/error.h"
#include "accl/base/units.h"
#include "accl/calls.h"
#include "accl/job_settings.h"
#include "bench/perf/conductor.h"
#include "bench/perf/machine.h"

namespace accl::perf {
namespace {

constexpr std::uint32_t slices[] = {20 << 10,  32 << 10,  64 << 10,
                                    128 << 10, 256 << 10, 0};  // 0: the transport's most.
constexpr std::uint32_t in_flights[] = {1, 2, 4};
// Up to here a vector is one slice whatever the choice, so one choice of an algorithm is enough.
constexpr std::uint64_t one_slice_bytes = 32 << 10;

// A machine's speed drifts by more than choices differ, so each is measured several times, minutes
// apart, and its best time counts.
constexpr unsigned passes = 5;
constexpr std::uint64_t least_iterations = 3;
constexpr double still_in = 1.3;  // Slower than the best by more: not measured again.
constexpr double noise = 1.05;    // Differences that mean nothing.

std::string in_words(const Choice& choice) {
  return fmt::format("{} slice {} in flight {}", choice.algorithm,
                     choice.slice_bytes == 0 ? "largest" : format_bytes(choice.slice_bytes),
                     choice.in_flight);
}

std::uint64_t selection_bytes(const Case& row, std::uint32_t ranks) {
  const Call call = make_call(row, 0, Rank{0}, ranks, nullptr, nullptr, false);
  return std::bit_ceil(std::max<std::uint64_t>(call_bytes(call, ranks), 1));
}

bool is_first_of_algorithm(std::span<const Choice> candidates, std::size_t number) {
  return number == 0 || candidates[number - 1].algorithm != candidates[number].algorithm;
}

double best_us(const TunedSize& size) {
  double best = std::numeric_limits<double>::max();
  for (const double us : size.us) best = us > 0 ? std::min(best, us) : best;
  return best;
}

bool is_worth_measuring(std::span<const Choice> candidates, const TunedSize& size,
                        std::size_t number, unsigned pass) {
  if (size.bytes <= one_slice_bytes && !is_first_of_algorithm(candidates, number)) return false;
  return pass == 0 || size.us[number] <= still_in * best_us(size);
}

// The words of a rule, or none for a comment or an empty line.
std::vector<std::string> words_of(const std::string& line) {
  std::istringstream text{line.substr(0, line.find('#'))};
  std::vector<std::string> words;
  for (std::string word; text >> word;) words.push_back(word);
  return words;
}

// Rank 0's measurements of one candidate. The other ranks play until it says stop.
void measure(const Options& options, Star& star, Communicator& communicator,
             std::span<const Case> cases, std::span<const Choice> candidates, std::size_t number,
             unsigned pass, std::vector<TunedSize>& sizes) {
  Player player(communicator, options, cases);
  if (index(communicator.rank()) != 0) {
    static_cast<void>(play(star, player));
    return;
  }
  Conductor conductor(star, player, options, cases);
  for (std::uint32_t row = 0; row < cases.size(); ++row) {
    if (!is_worth_measuring(candidates, sizes[row], number, pass)) continue;
    const Measurement result = conductor.measure(row, false);
    if (result.wrong != 0) {
      fail(ErrorKind::system, "{} at {} bytes gives wrong elements", in_words(candidates[number]),
           sizes[row].bytes);
    }
    double& us = sizes[row].us[number];
    us = us == 0 ? result.median_us : std::min(us, result.median_us);
  }
  conductor.stop(0);
}

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// What the new rules go into: the file if there is one, else the table in use.
std::string base_table(const Options& options, const Communicator& communicator) {
  std::string text = options.tune_path.empty() ? "" : read_file(options.tune_path);
  if (!text.empty()) return SelectionTable::parse(text, options.tune_path).text();
  text = JobSettings::unpack(communicator.session()->settings()).selection;
  return text.empty() ? SelectionTable::built_in().text() : text;
}

// Whole or not at all: the file may be in use as a table.
void write_file(const std::string& path, const std::string& text) {
  const std::string fresh = path + ".new";
  std::ofstream file(fresh);
  file << text;
  file.close();
  std::error_code problem;
  if (file) std::filesystem::rename(fresh, path, problem);
  if (!file || problem) {
    fail(ErrorKind::system, "cannot write '{}'; give --tune a path that can be written", path);
  }
}

void report(const Options& options, std::uint32_t ranks, std::string_view transport,
            std::span<const Choice> candidates, std::span<const TunedSize> sizes,
            const std::string& base) {
  const std::string rules = tuned_rules(options, ranks, transport, candidates, sizes);
  fmt::print("# Best of {} choices for {} over {} ranks, {}\n", candidates.size(),
             name_of(options.collective), ranks, transport);
  for (const TunedSize& size : sizes) {
    const auto best =
        static_cast<std::size_t>(std::ranges::find(size.us, best_us(size)) - size.us.begin());
    fmt::print("# {:>10}  {:>10.2f} us  {}\n", size.bytes, size.us[best],
               in_words(candidates[best]));
  }
  const std::string table = merge_rules(base, options, ranks, transport, rules);
  static_cast<void>(SelectionTable::parse(table, "the table that was made"));
  if (options.tune_path.empty()) {
    fmt::print("{}", rules);
    return;
  }
  write_file(options.tune_path, table);
  fmt::print("# Wrote {}; use it with ACCL_SELECTION={}\n", options.tune_path, options.tune_path);
}

}  // namespace

std::vector<Choice> tuning_candidates(const Options& options, std::uint32_t ranks) {
  std::vector<Choice> candidates;
  for (const Algorithm& algorithm : algorithms()) {
    const bool is_wanted = options.algorithm == "auto" || algorithm.name == options.algorithm;
    const Shape shape{.size = ranks,
                      .root = Position{},
                      .width = ranks,
                      .first = options.first.value_or(First::near)};
    if (algorithm.collective != options.collective || !is_wanted || !algorithm.fits(shape)) {
      continue;
    }
    for (const std::uint32_t slice : slices) {
      for (const std::uint32_t in_flight : in_flights) {
        candidates.push_back({std::string(algorithm.name), slice, in_flight});
      }
    }
  }
  return candidates;
}

std::vector<std::size_t> tuning_winners(std::span<const TunedSize> sizes) {
  std::vector<std::size_t> winners;
  for (const TunedSize& size : sizes) {
    const double best = best_us(size);
    const bool keeps =
        !winners.empty() && size.us[winners.back()] > 0 && size.us[winners.back()] <= noise * best;
    const auto first =
        std::ranges::find_if(size.us, [&](double us) { return us > 0 && us <= noise * best; });
    winners.push_back(keeps ? winners.back() : static_cast<std::size_t>(first - size.us.begin()));
  }
  return winners;
}

std::string tuned_rules(const Options& options, std::uint32_t ranks, std::string_view transport,
                        std::span<const Choice> candidates, std::span<const TunedSize> sizes) {
  const std::vector<std::size_t> winners = tuning_winners(sizes);
  std::string rules;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const bool is_last = i + 1 == sizes.size();
    const bool is_one_class = !is_last && sizes[i + 1].bytes == sizes[i].bytes;
    if (is_one_class || (!is_last && winners[i + 1] == winners[i])) continue;
    const Choice& choice = candidates[winners[i]];
    rules += fmt::format(
        "{:<15} {:<7} {:<6} {:<10} {:<13} {:<6} {}\n", name_of(options.collective),
        fmt::format("{}-{}", ranks, ranks), is_last ? "max" : format_bytes(sizes[i].bytes),
        transport, choice.algorithm,
        choice.slice_bytes == 0 ? "0" : format_bytes(choice.slice_bytes), choice.in_flight);
  }
  return rules;
}

std::string merge_rules(const std::string& table, const Options& options, std::uint32_t ranks,
                        std::string_view transport, const std::string& rules) {
  const std::string range = fmt::format("{}-{}", ranks, ranks);
  std::istringstream lines{table};
  std::string merged;
  bool is_in = false;
  for (std::string line; std::getline(lines, line);) {
    const std::vector<std::string> words = words_of(line);
    const bool is_old = words.size() > 3 && words[0] == name_of(options.collective) &&
                        words[1] == range && words[3] == transport;
    if (!words.empty() && !is_in) {
      merged += rules;  // Before every other rule: the first that matches wins.
      is_in = true;
    }
    if (!is_old) merged += line + '\n';
  }
  return is_in ? merged : merged + rules;
}

int tune(const Options& options, Star& star, Communicator& communicator,
         std::span<const Case> cases) {
  const std::uint32_t ranks = communicator.size();
  const std::string transport = communicator.expected_transport();
  const std::vector<Choice> candidates = tuning_candidates(options, ranks);
  if (candidates.empty()) {
    fail(ErrorKind::invalid_argument,
         "--algo {}: does not serve {} over {} ranks; choose one of {}", options.algorithm,
         name_of(options.collective), ranks, algorithm_names(options.collective));
  }
  const std::string base = base_table(options, communicator);  // A bad one is told at once.
  std::vector<TunedSize> sizes;
  for (const Case& row : cases) {
    sizes.push_back({selection_bytes(row, ranks), std::vector<double>(candidates.size())});
  }
  Options pace = options;
  if (!options.iterations_given) pace.iterations = least_iterations;
  CommunicatorOptions with_choice;
  with_choice.transport = options.transport;
  with_choice.first = options.first;
  std::uint32_t number = 1;  // Of the communicator in the session.
  for (unsigned pass = 0; pass < passes; ++pass) {
    pace.check = pass == 0 ? options.check : 0;  // Once is enough.
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      with_choice.choice = candidates[i];
      const auto tried = Communicator::create(communicator.session(), with_choice, ++number);
      measure(pace, star, *tried, cases, candidates, i, pass, sizes);
    }
  }
  if (index(communicator.rank()) != 0) return 0;
  report(options, ranks, transport, candidates, sizes, base);
  return 0;
}

}  // namespace accl::perf
