// seat.h - where this process stands: a rank of a job, or the launcher that will start one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "accl/base/fd.h"
#include "accl/base/ids.h"
#include "accl/bootstrap/unique_id.h"
#include "bench/perf/options.h"

namespace accl::perf {

struct Seat {
  Rank rank{};
  std::uint32_t world = 1;
  UniqueId id{};
  Fd report;  // To our launcher: why this rank failed. Empty where another launcher started us.
};

// In this order: what our launcher passed, --rank --world --root, the variables of mpirun, srun or
// torchrun. Empty: start local ranks. Throws Error(invalid_argument).
std::optional<Seat> find_seat(const Options& options);

// What our launcher passes to a child, as an environment entry "NAME=value". Not a flag: other
// users may read command lines, and the id holds the job's secret.
std::string seat_entry(const Seat& seat, int report_fd);

// Whether some launcher started this process as a rank other than 0, which leaves complaints about
// the command line to rank 0.
bool is_quiet_rank();

}  // namespace accl::perf
