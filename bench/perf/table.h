// table.h - the text on stdout: nccl-tests 2.19.6's lines, byte for byte where scripts read them
// (rows, "# Out of bounds values", "# Avg bus bandwidth"), with our name in the others.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "accl/bootstrap/session.h"
#include "bench/perf/options.h"
#include "bench/perf/row.h"

namespace accl::perf {

// Everything until the column titles, and those.
std::string header_text(const Options& options, std::span<const Member> members);
std::string title_text(const Options& options, std::span<const std::string> peers);
std::string row_text(const Options& options, const Row& row, bool checked);
// What was counted of a row, in one line; empty where nothing was.
std::string traffic_text(const Row& row, std::uint32_t ranks);
std::string footer_text(const Options& options, const Totals& totals);

// A number in at most `width` characters, as nccl-tests' getFloatStr does.
std::string number_text(double value, int width);

// Minimum, percentiles and spread of -I, from the slowest rank of each iteration.
struct IterationStatistics {
  double min_us = 0, max_us = 0, average_us = 0, p50_us = 0, p95_us = 0, p99_us = 0;
  double deviation_us = 0, variation_percent = 0;
};
std::vector<double> slowest_us(const Measurement& measurement);
IterationStatistics iteration_statistics(const Measurement& measurement, std::uint64_t skip);

// "2026-07-09 16:03:21", local time.
std::string time_text();

}  // namespace accl::perf
