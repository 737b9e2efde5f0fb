// accl-perf - measures and checks collectives. `accl-perf --help`.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <exception>

#include "accl/base/error.h"
#include "bench/perf/explain.h"
#include "bench/perf/launcher.h"
#include "bench/perf/options.h"
#include "bench/perf/report.h"
#include "bench/perf/run.h"
#include "bench/perf/seat.h"

namespace {

using accl::Error;
using accl::ErrorKind;
using accl::perf::Options;
using accl::perf::Seat;

constexpr std::uint32_t default_ranks = 4;

// 2: whoever called can mend it; 1: the run failed.
int exit_code(const Error& error) {
  return error.kind() == ErrorKind::invalid_argument || error.kind() == ErrorKind::system ? 2 : 1;
}

// A rank tells its launcher, which prints one sentence for all of them.
int run(const Options& options, const Seat& seat) {
  if (options.peers && !seat.report) {
    accl::fail(ErrorKind::invalid_argument,
               "--peers starts its ranks itself: run it without mpirun, srun or torchrun");
  }
  try {
    return accl::perf::run_rank(options, seat);
  } catch (const Error& error) {
    if (!seat.report) throw;
    const std::string text = error.what();
    const bool told = ::write(seat.report.get(), text.data(), text.size()) > 0;
    if (!told) fmt::print(stderr, "accl-perf: {}\n", text);
    return exit_code(error);
  }
}

int run_all(int argc, char** argv) {
  const std::optional<Options> options = accl::perf::parse_options(argc, argv);
  if (!options) return 0;
  if (options->explain) {
    const std::uint32_t ranks = options->ranks.value_or(options->world.value_or(default_ranks));
    accl::perf::check_options(*options, ranks);
    std::fputs(accl::perf::explain(*options, ranks).c_str(), stdout);
    return 0;
  }
  const std::optional<Seat> seat = accl::perf::find_seat(*options);
  if (seat) return run(*options, *seat);
  const std::uint32_t ranks = options->ranks.value_or(default_ranks);
  accl::perf::check_inputs(*options, ranks);
  accl::perf::check_outputs(*options);
  return accl::perf::launch_ranks(*options, ranks);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run_all(argc, argv);
  } catch (const Error& error) {
    const int code = exit_code(error);
    if (code != 2 || !accl::perf::is_quiet_rank()) {
      fmt::print(stderr, "accl-perf: {}\n", error.what());
    }
    return code;
  } catch (const std::exception& error) {
    fmt::print(stderr, "accl-perf: {}\n", error.what());
    return 1;
  }
}
