#include "bench/perf/run.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <thread>

#include "accl/base/clock.h"
#include "accl/base/error.h"
#include "accl/base/units.h"
#include "accl/launch.h"
#include "bench/perf/conductor.h"
#include "bench/perf/machine.h"
#include "bench/perf/peers.h"
#include "bench/perf/report.h"
#include "bench/perf/table.h"
#include "bench/perf/tune.h"
#include "bench/perf/workload.h"
#include "topology/mapping/rank_map.h"

namespace accl::perf {
namespace {

// Blocks of each library per row with --peers, taken in turn.
constexpr unsigned rounds = 9;
constexpr Milliseconds longest_verdict{2000};

std::vector<Case> cases_of(const Options& options, std::uint32_t ranks) {
  return options.workload_path.empty() ? make_cases(options, ranks) : make_workload_cases(options);
}

void print_now(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

// A line on a terminal's stderr that says what runs, and is gone before anything else is printed.
class Progress {
 public:
  Progress() : is_on_(::isatty(STDERR_FILENO) != 0) {}
  ~Progress() { clear(); }
  void show(const std::string& text) const {
    if (is_on_) fmt::print(stderr, "\r\033[K{}", text);
  }
  void clear() const {
    if (is_on_) fmt::print(stderr, "\r\033[K");
  }

 private:
  bool is_on_;
};

// mpirun and srun bind their ranks themselves; ours are bound here, this thread only, so that two
// ranks that spin never share a core while another is free. True where it was done.
bool bind(const Options& options, const Communicator& communicator) {
  const std::vector<int> cores = allowed_cores();
  const std::uint32_t self = index(communicator.rank());
  if (!options.bind || communicator.size() > cores.size()) return false;
  bind_to(cores[self]);
  return true;
}

// A rank that waits for others between two calls sees only that one is gone. What ended it the
// communicator knows, or will in a moment: all ranks give the same reason then.
Error cause_of(const Error& error, const Communicator& communicator) {
  const Deadline deadline(longest_verdict);
  while (error.kind() == ErrorKind::remote && !deadline.passed()) {
    if (const std::optional<Error> failure = communicator.failure()) return *failure;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return error;
}

// Rank 0's run: header, rows, footer, file.
class Run {
 public:
  Run(const Options& options, Communicator& communicator, Star& star, Player& player,
      std::span<const Case> cases)
      : options_(options),
        communicator_(communicator),
        cases_(cases),
        conductor_(star, player, options, cases),
        report_(options, communicator.session()->members()) {}

  // The exit code.
  int all() {
    print_now(header_text(options_, communicator_.session()->members()));
    if (options_.peers) start_all_peers();  // Before binding: what is started here inherits it.
    if (bind(options_, communicator_)) {
      print_now("# Each rank is bound to a core of its own, as mpirun does (--bind none: not)\n");
    }
    std::vector<std::string> names;
    for (const auto& peer : peers_) names.push_back(peer->name());
    print_now(title_text(options_, names));
    for (std::uint64_t cycle = 0; options_.cycles == 0 || cycle < options_.cycles; ++cycle) {
      for (std::uint32_t row = 0; row < cases_.size(); ++row) run_row(row);
    }
    print_now(footer_text(options_, totals_));
    const int code = totals_.bad_measurements == 0 ? 0 : 1;
    conductor_.stop(static_cast<std::uint32_t>(code));
    write_report();
    return code;
  }

 private:
  void start_all_peers() {
    progress_.show("starting the peers");
    std::string notes;
    peers_ = start_peers(options_.transport, communicator_.size(), notes);
    progress_.clear();
    notes += fmt::format(
        "# Method: {} rounds a row; in each, every library runs a block of about equal length in "
        "turn, the\n"
        "#   others asleep; a block warms up, then times batches of at least 20 us. A peer's time "
        "is "
        "the median\n"
        "#   of its blocks, ratio the median over rounds of its block by ours (out-of-place).\n",
        rounds);
    if (options_.limits) {
      progress_.show("measuring the machine");
      const Limits limits = measure_limits();
      limits_ = limits_json(limits);
      notes += limits_text(limits);
      progress_.clear();
    }
    print_now(notes);
  }

  void run_row(std::uint32_t number) {
    const Case& what = cases_[number];
    const std::uint32_t ranks = communicator_.size();
    Row row;
    row.size_bytes = size_bytes(what, ranks);
    row.count = total_count(what);
    row.type = name_of(what.type);
    row.operation = operation_name(what);
    row.root = root_number(what);
    row.bandwidth_factor = bandwidth_factor(what.collective, ranks);
    row.name = what.name;
    row.calls = what.counts.size();
    progress_.show(fmt::format("{}/{}  {} {} {} {}", number + 1, cases_.size(),
                               name_of(what.collective), row.type, row.operation,
                               format_bytes(row.size_bytes)));
    measure(number, row);
    row.algorithm =
        communicator_.algorithm_for(make_call(what, 0, Rank{0}, ranks, nullptr, nullptr, false));
    finish(row);
  }

  void measure(std::uint32_t number, Row& row) {
    row.out_of_place =
        peers_.empty() ? conductor_.measure(number, false) : measure_beside_peers(number, row);
    if (options_.in_place && has_in_place(cases_[number].collective)) {
      row.in_place = conductor_.measure(number, true);
    }
    if (options_.traffic) row.traffic = conductor_.count(number);
  }

  // A slower library gets fewer iterations, so that blocks last about equally long.
  static Pace peer_pace(Peer& peer, const Case& row, const Pace& ours, double block_us) {
    const Pace few{1, std::min<std::uint64_t>(ours.iterations, 4), 1};
    const std::optional<double> us = peer.run_us(row, few);
    return us ? pace_for(*us, block_us, ours.iterations) : few;
  }

  Measurement measure_beside_peers(std::uint32_t number, Row& row) {
    std::vector<std::vector<double>> times(peers_.size());
    std::vector<std::vector<double>> ratios(peers_.size());
    std::vector<std::optional<Pace>> paces(peers_.size());
    const auto between = [&](const Pace& pace, const Measurement& ours) {
      const double block_us = ours.median_us * static_cast<double>(pace.iterations);
      for (std::size_t i = 0; i < peers_.size(); ++i) {
        if (!paces[i]) paces[i] = peer_pace(*peers_[i], cases_[number], pace, block_us);
        const std::optional<double> us = peers_[i]->run_us(cases_[number], *paces[i]);
        if (!us) continue;
        paces[i] = pace_for(*us, block_us, pace.iterations);  // Where the guess was bad.
        times[i].push_back(*us);
        ratios[i].push_back(*us / ours.median_us);
      }
    };
    const Measurement result = conductor_.measure(number, false, rounds, between);
    for (std::size_t i = 0; i < peers_.size(); ++i) {
      PeerTime time{peers_[i]->name(), std::nullopt, 0};
      if (!times[i].empty()) {
        time.median_us = median(times[i]);
        time.ratio = median(ratios[i]);
      }
      row.peers.push_back(std::move(time));
    }
    return result;
  }

  void finish(const Row& row) {
    for (const std::optional<Measurement>& side : {row.out_of_place, row.in_place}) {
      if (!side) continue;
      totals_.bus_bandwidth_sum += bus_bandwidth(row, *side);
      ++totals_.measurements;
      if (side->wrong != 0 || side->outside != 0) ++totals_.bad_measurements;
    }
    progress_.clear();
    if (!row.name.empty()) {
      print_now(fmt::format("# {}: {} allreduces, one after the other\n", row.name, row.calls));
    }
    print_now(row_text(options_, row, options_.check != 0));
    print_now(traffic_text(row, communicator_.size()));
    report_outside(row);
    report_.add(row);
  }

  // The table has no column for it.
  void report_outside(const Row& row) const {
    const std::uint64_t bytes = (row.out_of_place ? row.out_of_place->outside : 0) +
                                (row.in_place ? row.in_place->outside : 0);
    if (bytes == 0) return;
    fmt::print(stderr, "accl-perf: {} bytes outside of the result were written at size {}\n", bytes,
               row.size_bytes);
  }

  void write_report() {
    if (options_.json_path.empty()) return;
    std::vector<PeerVersion> versions;
    for (const auto& peer : peers_) versions.push_back({peer->name(), peer->version()});
    report_.describe(communicator_.transports(), versions, limits_);
    print_now(fmt::format("# Wrote JSON output to {}\n", report_.write(totals_)));
  }

  const Options& options_;
  Communicator& communicator_;
  std::span<const Case> cases_;
  Conductor conductor_;
  Report report_;
  Progress progress_;
  Totals totals_;
  nlohmann::ordered_json limits_;
  std::vector<std::unique_ptr<Peer>> peers_;
};

int work(const Options& options, Communicator& communicator) {
  Star star(*communicator.session());
  const std::vector<Case> cases = cases_of(options, communicator.size());
  if (options.tune) {
    static_cast<void>(bind(options, communicator));
    return tune(options, star, communicator, cases);
  }
  Player player(communicator, options, cases);
  if (index(communicator.rank()) != 0) {
    static_cast<void>(bind(options, communicator));
    return play(star, player);
  }
  return Run(options, communicator, star, player, cases).all();
}

}  // namespace

int run_rank(const Options& given, const Seat& seat) {
  Options options = given;
  options.bind &= static_cast<bool>(seat.report);
  check_inputs(options, seat.world);
  if (index(seat.rank) == 0) check_outputs(options);
  LaunchOptions launch;
  launch.communicator.algorithm = catalog_algorithm(options);
  launch.communicator.transport = options.transport;
  launch.communicator.first = options.first;
  // One rank fails, so that the others have somebody to blame.
  if (index(seat.rank) + 1 == seat.world) launch.communicator.fault = options.fault;
  launch.rank_map = options.map_path;
  const std::unique_ptr<Communicator> communicator =
      accl::launch(seat.id, seat.rank, seat.world, launch);
  try {
    return work(options, *communicator);
  } catch (const Error& error) {
    throw cause_of(error, *communicator);
  }
}

void check_inputs(const Options& options, std::uint32_t ranks) {
  check_options(options, ranks);
  if (!options.map_path.empty()) topology::load_rank_map(options.map_path, ranks);
  std::size_t largest = 0;
  for (const Case& row : cases_of(options, ranks)) {
    const std::size_t elements = std::max(send_elements(row, ranks), recv_elements(row, ranks));
    largest = std::max(largest, elements * size_of(row.type));
  }
  const auto memory = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                      static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const std::uint64_t local = options.ranks || !options.rank ? ranks : 1;
  if (largest > memory / 2 / local) {
    fail(ErrorKind::invalid_argument,
         "{} ranks with two buffers of {} need more memory than the {} MiB of this machine: give a "
         "smaller -e or fewer --ranks",
         local, format_bytes(largest), memory >> 20);
  }
}

}  // namespace accl::perf
