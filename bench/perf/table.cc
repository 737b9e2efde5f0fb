#include "bench/perf/table.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <numeric>

#include "accl/base/units.h"
#include "accl/launch.h"

namespace accl::perf {
namespace {

std::string side_text(const Options& options, const Row& row,
                      const std::optional<Measurement>& side, bool checked) {
  std::string text;
  if (!side) {
    text = fmt::format("  {:>7}  {:>6}  {:>6}  {:>6}", "N/A", "N/A", "N/A", "N/A");
  } else {
    const std::string wrong =
        checked ? fmt::format("  {:6g}", static_cast<double>(side->wrong)) : "    N/A";
    text = fmt::format("  {:>7}  {:>6}  {:>6}{}", number_text(side->time_us, 7),
                       number_text(algorithm_bandwidth(row, *side), 6),
                       number_text(bus_bandwidth(row, *side), 6), wrong);
  }
  if (!options.per_iteration) return text;
  if (!side) return text + fmt::format("  {:>7}  {:>7}  {:>7}  {:>7}", "N/A", "N/A", "N/A", "N/A");
  const IterationStatistics all = iteration_statistics(*side, options.per_iteration_skip);
  return text + fmt::format("  {:>7}  {:>7}  {:>7}  {:>7}", number_text(all.min_us, 7),
                            number_text(all.max_us, 7), number_text(all.p99_us, 7),
                            number_text(all.variation_percent, 7));
}

// One title line: five columns of the row, then those of a side twice, then the peers'.
std::string title_line(const Options& options, std::span<const char* const> first,
                       std::span<const char* const> side, std::span<const char* const> extra,
                       const char* stamp) {
  std::string text = fmt::format("# {:>10}  {:>12}  {:>8}  {:>6}  {:>6}", first[0], first[1],
                                 first[2], first[3], first[4]);
  for (int i = 0; i < 2; ++i) {
    text += fmt::format("  {:>7}  {:>6}  {:>6}  {:>6}", side[0], side[1], side[2], side[3]);
    if (!options.per_iteration) continue;
    text += fmt::format("  {:>7}  {:>7}  {:>7}  {:>7}", extra[0], extra[1], extra[2], extra[3]);
  }
  return text +
         fmt::format(" {:>{}}", options.timestamps ? stamp : "", options.timestamps ? 19 : 0);
}

double percentile(const std::vector<double>& sorted, std::size_t percent) {
  const std::size_t at = (sorted.size() * percent + 99) / 100;
  return sorted[std::min(sorted.size(), std::max<std::size_t>(at, 1)) - 1];
}

}  // namespace

std::string number_text(double value, int width) {
  for (const int digits : {2, 1, 0}) {
    std::string text = fmt::format("{:{}.{}f}", value, width, digits);
    if (text.size() <= static_cast<std::size_t>(width)) return text;
  }
  return fmt::format("{:{}.{}e}", value, width, width >= 7 ? 1 : 0);
}

std::string time_text() {
  return fmt::format("{:%Y-%m-%d %H:%M:%S}", fmt::localtime(std::time(nullptr)));
}

std::string header_text(const Options& options, std::span<const Member> members) {
  const bool factor = options.step_factor > 1;
  std::string text = fmt::format("# accl-perf version {}\n", version);
  text += fmt::format("# Collective test starting: {}\n", name_of(options.collective));
  text += fmt::format(
      "# nThread 1 nGpus 1 minBytes {} maxBytes {} step: {}({}) warmup iters: {} iters: {} "
      "agg iters: {} validation: {} graph: 0 unalign: {}\n",
      options.min_bytes, options.max_bytes, factor ? options.step_factor : options.step_bytes,
      factor ? "factor" : "bytes", options.warmup, options.iterations, options.aggregated,
      options.check, options.unalign);
  text +=
      fmt::format("# algorithm: {} transport: {} buffers: {} aligned to {}\n", options.algorithm,
                  options.transport, options.buffers == BufferKind::user ? "user" : "accl",
                  format_bytes(options.align_bytes));
  if (!options.iterations_given && !options.per_iteration) {
    text += "# Without -n, small sizes run more iterations, for about 5 ms a measurement\n";
  }
  if (options.blocking == 1) text += "# Barrier after each call, within the time\n";
  if (options.blocking == 3) text += "# Barrier after each call, outside the time\n";
  if (options.per_iteration) {
    text += "# Per-Iteration Report: i_* are over iterations, of the slowest rank in each\n";
  }
  text += "#\n# Using devices\n";
  for (const Member& member : members) {
    text += fmt::format("#  Rank {:2} Group  0 Pid {:6} on {:>10} device  0 [host] host memory\n",
                        index(member.rank), member.pid, member.host);
  }
  return text;
}

std::string title_text(const Options& options, std::span<const std::string> peers) {
  constexpr const char* names[] = {"size", "count", "type", "redop", "root"};
  constexpr const char* units[] = {"(B)", "(elements)", "", "", ""};
  constexpr const char* side[] = {"time", "algbw", "busbw", "#wrong"};
  constexpr const char* side_units[] = {"(us)", "(GB/s)", "(GB/s)", ""};
  constexpr const char* extra[] = {"i_min", "i_max", "i_p99", "i_cv%"};
  constexpr const char* extra_units[] = {"(us)", "(us)", "(us)", "(%)"};
  std::string top = fmt::format("# {:>10}  {:>12}  {:>8}  {:>6}  {:>6}", "", "", "", "", "");
  top +=
      options.per_iteration
          ? "              out-of-place (+ per-iteration)                                in-place "
            "(+ per-iteration)"
          : "           out-of-place                       in-place          ";
  std::string second = title_line(options, names, side, extra, "timestamp");
  std::string third = title_line(options, units, side_units, extra_units, "%Y-%m-%d %H:%M:%S");
  for (const std::string& peer : peers) {
    top += fmt::format("  {:>16.16}", peer);
    second += fmt::format("  {:>9} {:>6}", "median", "ratio");
    third += fmt::format("  {:>9} {:>6}", "(us)", "");
  }
  return "#\n" + top + "\n" + second + "\n" + third + "\n";
}

std::string row_text(const Options& options, const Row& row, bool checked) {
  std::string text = fmt::format("{:12}  {:12}  {:>8}  {:>6}  {:6}", row.size_bytes, row.count,
                                 row.type, row.operation, row.root);
  text += side_text(options, row, row.out_of_place, checked);
  text += side_text(options, row, row.in_place, checked);
  if (options.timestamps) text += fmt::format("{:>21}", time_text());
  for (const PeerTime& peer : row.peers) {
    text += peer.median_us ? fmt::format("  {:>9} {:>6}", number_text(*peer.median_us, 9),
                                         number_text(peer.ratio, 6))
                           : fmt::format("  {:>9} {:>6}", "N/A", "N/A");
  }
  return text + "\n";
}

std::string traffic_text(const Row& row, std::uint32_t ranks) {
  if (!row.traffic) return {};
  std::vector<std::uint64_t> by_rank(ranks);
  std::uint64_t bytes = 0;
  for (const Flow& flow : *row.traffic) {
    by_rank[flow.from] += flow.messages;
    bytes += flow.bytes;
  }
  const auto [least, most] = std::ranges::minmax(by_rank);
  return fmt::format("#   traffic: {} messages, {} payload bytes, {} to {} messages a rank\n",
                     std::accumulate(by_rank.begin(), by_rank.end(), std::uint64_t{0}), bytes,
                     least, most);
}

std::string footer_text(const Options& options, const Totals& totals) {
  return fmt::format("# {:<20} : {} {}\n# {:<20} : {:g} \n#\n# Collective test concluded: {}\n",
                     "Out of bounds values", totals.bad_measurements,
                     totals.bad_measurements == 0 ? "OK" : "FAILED", "Avg bus bandwidth",
                     totals.average_bus_bandwidth(), name_of(options.collective));
}

std::vector<double> slowest_us(const Measurement& measurement) {
  std::vector<double> slowest = measurement.by_rank_us.front();
  for (const std::vector<double>& rank : measurement.by_rank_us) {
    std::ranges::transform(slowest, rank, slowest.begin(),
                           [](double a, double b) { return std::max(a, b); });
  }
  return slowest;
}

IterationStatistics iteration_statistics(const Measurement& measurement, std::uint64_t skip) {
  std::vector<double> times = slowest_us(measurement);
  times.erase(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(
                                                 std::min<std::uint64_t>(skip, times.size() - 1)));
  std::ranges::sort(times);
  IterationStatistics all;
  const auto count = static_cast<double>(times.size());
  all.min_us = times.front();
  all.max_us = times.back();
  all.average_us = std::accumulate(times.begin(), times.end(), 0.0) / count;
  all.p50_us = times[times.size() / 2];
  all.p95_us = percentile(times, 95);
  all.p99_us = percentile(times, 99);
  double squares = 0;
  for (const double time : times) squares += (time - all.average_us) * (time - all.average_us);
  all.deviation_us = std::sqrt(squares / count);
  all.variation_percent = all.average_us > 0 ? all.deviation_us / all.average_us * 100 : 0;
  return all;
}

}  // namespace accl::perf
