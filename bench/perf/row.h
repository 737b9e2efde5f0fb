// row.h - one finished row, as the table and the JSON file both read it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bench/perf/conductor.h"

namespace accl::perf {

// What a peer library needed for the same, out of place.
struct PeerTime {
  std::string name;
  std::optional<double> median_us;  // Empty where it has no such collective or type.
  double ratio = 0;                 // Median over rounds of peer / ours.
};

struct Row {
  std::uint64_t size_bytes = 0;
  std::uint64_t count = 0;
  std::string type, operation;
  std::int64_t root = -1;
  double bandwidth_factor = 1;
  std::string algorithm;
  std::string name;         // Of a workload's row; otherwise empty.
  std::uint64_t calls = 1;  // In one iteration.
  std::optional<Measurement> out_of_place, in_place;
  std::vector<PeerTime> peers;
  std::optional<std::vector<Flow>> traffic;  // Of one iteration out of place, where it was counted.
};

// GB/s, GB = 1e9 bytes; 0 for an empty message.
inline double algorithm_bandwidth(const Row& row, const Measurement& measurement) {
  const double us = measurement.time_us;
  return us > 0 ? static_cast<double>(row.size_bytes) / 1e3 / us : 0;
}
inline double bus_bandwidth(const Row& row, const Measurement& measurement) {
  return algorithm_bandwidth(row, measurement) * row.bandwidth_factor;
}

// Over a whole run.
struct Totals {
  std::uint64_t bad_measurements = 0;  // With wrong elements, or bytes written outside.
  double bus_bandwidth_sum = 0;
  std::uint64_t measurements = 0;

  double average_bus_bandwidth() const {
    return measurements == 0 ? 0 : bus_bandwidth_sum / static_cast<double>(measurements);
  }
};

}  // namespace accl::perf
