// report.h - a cluster as one page that a browser opens from a file: the fabric drawn, the messages
// on every cable in every step under the map and under its baselines, and tables of cables and
// ranks. The page holds everything it needs and fetches nothing; equal inputs give equal bytes.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "topology/mapping/rank_map.h"
#include "topology/mapping/study.h"

namespace accl::topology {

// What a cabling plan says of a cable. Columns that are empty for all cables are not shown.
struct ReportCable {
  std::string label;
  std::string medium;
  std::string length;
  std::string rack_a;
  std::string rack_b;
};

struct ReportInput {
  const Fabric& fabric;
  const Condition& condition;
  const std::vector<Study>& studies;  // As studies() makes them: the map first.
  const RankMap& map;
  std::vector<ReportCable> cables = {};  // By CableId, or empty: labels are label_of().
};

// Of a study, at most so many rounds are on the page, from the first; the page says how many more
// there are.
constexpr std::size_t most_report_rounds = 64;

// With more messages than this in all its rounds, the page does not say which ranks' messages cross
// a cable, only how many.
constexpr std::size_t most_report_messages = 200'000;

std::string print_report(const ReportInput& input);

}  // namespace accl::topology
