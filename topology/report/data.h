// data.h - what the report page shows, as the one JSON object that its scripts read. Rows are
// arrays, in the order that the comments here give, so that 512 NICs stay far below 3 MB.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "topology/report/report.h"

namespace accl::topology {

using ReportJson = nlohmann::ordered_json;

// {"name", "bytes", "free", "fabrics": [the fabric, and its rival if a study is of it],
//  "has_senders", "studies", "ranks": [[rank, host, gpu, nic, side, switch, port, lane]]}
ReportJson report_data(const ReportInput& input);

// Messages by link, in a list a count: [count, gap, length, gap, length, ...]. The first gap is
// counted from link 0, each other one from the end of the run before it. Counts are rounded to a
// thousandth; links without messages are in no list.
ReportJson pack_loads(const std::vector<double>& flows);

}  // namespace accl::topology
