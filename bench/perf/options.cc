#include "bench/perf/options.h"

#include <CLI/CLI.hpp>
#include <array>
#include <bit>
#include <functional>

#include "accl/base/error.h"
#include "accl/base/units.h"
#include "accl/launch.h"
#include "algorithms/catalog.h"
#include "bench/perf/flags.h"
#include "topology/mapping/rank_map.h"
#include "transport/fault/fault.h"

namespace accl::perf {
namespace {

constexpr std::int64_t large = 1'000'000'000;

constexpr std::string_view collectives[] = {"allreduce", "reduce_scatter", "allgather", "broadcast",
                                            "reduce",    "alltoall",       "gather",    "scatter",
                                            "sendrecv",  "barrier"};
constexpr std::string_view transports[] = {"auto", "shm", "tcp", "ucx", "verbs"};
// nccl-tests' order.
constexpr std::array all_ops{ReduceOp::sum, ReduceOp::prod, ReduceOp::max,
                             ReduceOp::min, ReduceOp::avg,  ReduceOp::premul_sum};

// Flags of nccl-tests that have one sensible value on host memory. That value is taken, so that
// its command lines work; any other is refused rather than ignored.
struct FixedFlag {
  const char* names;
  const char* flag;
  const char* only;
  const char* reason;
};
constexpr FixedFlag fixed_flags[] = {
    {"-t,--nthreads", "-t", "1", "each rank is a process of its own, use --ranks"},
    {"-g,--ngpus", "-g", "1", "each rank is a process of its own, use --ranks"},
    {"-p,--parallel_init", "-p", "0", "ranks always start in parallel, leave it out"},
    {"-y,--stream_null", "-y", "0", "host memory has no streams, leave it out"},
    {"-G,--cudagraph", "-G", "0", "host memory has no CUDA graphs, leave it out"},
    {"-C,--report_cputime", "-C", "0", "all times are wall-clock times, leave it out"},
    {"-R,--local_register", "-R", "0", "use --buffers accl for memory that peers can map"},
    {"-x,--cta_policy", "-x", "0", "host memory has no CTAs, leave it out"},
    {"-D,--device_implementation", "-D", "0", "there are no device kernels, leave it out"},
    {"-V,--device_cta_count", "-V", "16", "there are no device kernels, leave it out"},
    {"-M,--memory", "-M", "0", "there is no GPU memory to report, leave it out"},
};

constexpr const char* examples = R"(Examples:
  accl-perf allreduce --ranks 4 -b 8 -e 64M -f 8        sizes 8 B to 64 MiB, 4 local processes
  accl-perf allreduce --ranks 4 --algo ring --transport tcp -J out.json
  accl-perf reduce --ranks 3 -d all -o all -r -1 -b 64K -e 64K    every type, operation and root
  accl-perf allreduce --ranks 2 --peers                 beside Open MPI, MPICH and Gloo as found
  accl-perf allreduce --ranks 4 --workload configs/workloads/resnet50.csv
  accl-perf allreduce --ranks 8 --algo hd --explain     prints the plan, runs nothing
  accl-perf allreduce --ranks 4 --traffic -J out.json   counts what each rank sends to whom
  accl-perf allreduce --ranks 4 --tune my.table         then ACCL_SELECTION=my.table
  mpirun -np 4 accl-perf allreduce                      ranks from mpirun, srun or torchrun
Exit code: 0 good, 1 wrong elements or a failed run, 2 bad usage or bad input.)";

using Setter = std::function<void(const std::string&)>;

// An option whose value goes through `set`, which throws Error.
void add(CLI::App& app, const char* names, const char* help, const char* value, const Setter& set) {
  app.add_option_function<std::string>(names, set, help)->type_name(value);
}

Setter number_into(std::uint64_t& target, const char* flag, std::int64_t low, std::int64_t high) {
  return [&target, flag, low, high](const std::string& text) {
    target = static_cast<std::uint64_t>(whole_number(flag, text, low, high));
  };
}

Setter switch_into(bool& target, const char* flag) {
  return [&target, flag](const std::string& text) { target = whole_number(flag, text, 0, 1) != 0; };
}

Setter bytes_into(std::uint64_t& target, const char* flag) {
  return [&target, flag](const std::string& text) { target = parse_bytes(text, flag); };
}

void set_types(Options& options, const std::string& text) {
  options.types.clear();
  std::vector<std::string_view> names;
  for (std::size_t i = 0; i < data_type_count; ++i) {
    const auto type = static_cast<DataType>(i);
    if (text == "all" || text == name_of(type)) options.types.push_back(type);
    names.push_back(name_of(type));
  }
  names.emplace_back("all");
  if (options.types.empty()) static_cast<void>(choice("-d", text, names));
}

void set_ops(Options& options, const std::string& text) {
  options.ops.clear();
  std::vector<std::string_view> names;
  for (const ReduceOp op : all_ops) {
    if (text == "all" || text == name_of(op)) options.ops.push_back(op);
    names.push_back(name_of(op));
  }
  names.emplace_back("all");
  if (options.ops.empty()) static_cast<void>(choice("-o", text, names));
}

void set_root(Options& options, const std::string& text) {
  if (text.find(':') != std::string::npos) {
    options.root_address = text;
  } else {
    options.root = whole_number("-r", text, -1, large);
  }
}

void add_size_flags(CLI::App& app, Options& options) {
  add(app, "-b,--minbytes", "Smallest size (8); K, M and G are binary", "SIZE",
      bytes_into(options.min_bytes, "-b"));
  add(app, "-e,--maxbytes", "Largest size (128M)", "SIZE", bytes_into(options.max_bytes, "-e"));
  add(app, "-i,--stepbytes", "Sizes grow by this much, instead of by -f", "SIZE",
      bytes_into(options.step_bytes, "-i"));
  add(app, "-f,--stepfactor", "Sizes grow by this factor (2)", "FACTOR",
      number_into(options.step_factor, "-f", 1, large));
  add(app, "-d,--datatype", "Data type (float), or all", "TYPE",
      [&options](const std::string& text) { set_types(options, text); });
  add(app, "-o,--op", "Operation (sum), or all", "OP",
      [&options](const std::string& text) { set_ops(options, text); });
  // nccl-tests' --root is a rank, ours an address: the colon tells them apart, both may be given.
  const auto set_roots = [&options](const std::vector<std::string>& texts) {
    for (const std::string& text : texts) set_root(options, text);
  };
  app.add_option_function<std::vector<std::string>>(
         "-r,--root", set_roots,
         "Root (0); -1: every root. HOST:PORT: where rank 0 of --world listens")
      ->type_name("RANK")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  add(app, "-u,--unalign", "Elements that buffers start behind their alignment (0)", "ELEMENTS",
      number_into(options.unalign, "-u", 0, 1 << 20));
}

void add_measure_flags(CLI::App& app, Options& options) {
  add(app, "-n,--iters", "Timed iterations (20; without -n small sizes run more)", "N",
      [&options](const std::string& text) {
        options.iterations = static_cast<std::uint64_t>(whole_number("-n", text, 1, large));
        options.iterations_given = true;
      });
  add(app, "-m,--agg_iters", "Calls per iteration (1)", "N",
      number_into(options.aggregated, "-m", 1, large));
  add(app, "-w,--warmup_iters", "Warm-up iterations (1)", "N",
      number_into(options.warmup, "-w", 0, large));
  add(app, "-N,--run_cycles", "Runs of the whole table (1; 0: for ever)", "N",
      number_into(options.cycles, "-N", 0, large));
  add(app, "-c,--check", "Checked calls before and after each measurement (1; 0: none)", "N",
      number_into(options.check, "-c", 0, large));
  add(app, "-a,--average", "Time over ranks: 0 rank 0's, 1 average, 2 min, 3 max (1)", "MODE",
      number_into(options.average, "-a", 0, 3));
  add(app, "-z,--blocking", "1: barrier after each call, 3: the same outside the time (0)", "MODE",
      number_into(options.blocking, "-z", 0, 3));
  add(app, "-I,--per_iter_timing", "1: time and report each iteration (0)", "0|1",
      switch_into(options.per_iteration, "-I"));
  add(app, "-K,--per_iter_skip", "Iterations that the summary of -I leaves out (0)", "N",
      number_into(options.per_iteration_skip, "-K", 0, large));
  add(app, "-S,--report_timestamps", "1: a time stamp on each row (0)", "0|1",
      switch_into(options.timestamps, "-S"));
  add(app, "-T,--timeout", "Seconds after which the whole run is ended (0: never)", "SECONDS",
      number_into(options.timeout_s, "-T", 0, large));
  add(app, "-J,--output_file", "Write the results here as JSON", "FILE",
      [&options](const std::string& text) { options.json_path = text; });
}

void add_fixed_flags(CLI::App& app) {
  for (const FixedFlag& fixed : fixed_flags) {
    const auto check = [&fixed](const std::string& text) {
      if (text == fixed.only) return;
      fail(ErrorKind::invalid_argument, "{} {}: {}", fixed.flag, text, fixed.reason);
    };
    app.add_option_function<std::string>(fixed.names, check)->type_name(fixed.only)->group("");
  }
}

void set_place(std::optional<std::uint32_t>& target, const char* flag, const std::string& text,
               std::int64_t low) {
  target = static_cast<std::uint32_t>(whole_number(flag, text, low, 65536));
}

void add_place_flags(CLI::App& app, Options& options) {
  add(app, "--ranks", "Start this many local processes (4 where no launcher is found)", "N",
      [&](const std::string& text) { set_place(options.ranks, "--ranks", text, 1); });
  add(app, "--rank", "This process is one rank of a job; with --world and --root", "R",
      [&](const std::string& text) { set_place(options.rank, "--rank", text, 0); });
  add(app, "--world", "Ranks in that job", "N",
      [&](const std::string& text) { set_place(options.world, "--world", text, 1); });
}

void add_algorithm_flags(CLI::App& app, Options& options) {
  app.add_option("--algo", options.algorithm, "Algorithm (auto); hdrm is hd under --map")
      ->type_name("NAME");
  add(app, "--first", "Which distance of halving-doubling comes first (the map's, or near)",
      "near|far", [&options](const std::string& text) {
        constexpr std::string_view names[] = {"near", "far"};
        options.first = choice("--first", text, names) == 0 ? First::near : First::far;
      });
  add(app, "--transport", "auto, shm, tcp, ucx or verbs (auto)", "NAME",
      [&options](const std::string& text) {
        options.transport = transports[choice("--transport", text, transports)];
      });
  app.add_option("--map", options.map_path, "rankmap.json: which rank sits at which position")
      ->type_name("FILE");
  app.add_option("--fault", options.fault, "Inject a fault, to show that checks work: flip:3")
      ->type_name("KIND:K");
  app.add_flag("--explain", options.explain, "Print the plan: steps and bytes; run nothing");
  app.add_flag("--traffic", options.traffic,
               "Count the messages and payload bytes of one more call of each row; pair by pair "
               "with -J");
}

void add_work_flags(CLI::App& app, Options& options) {
  app.add_option("--workload", options.workload_path,
                 "Gradient tensors of a model (CSV: name,elements); reports one iteration")
      ->type_name("FILE");
  add(app, "--fusion", "Largest fusion buffer of --workload (32M)", "SIZE",
      bytes_into(options.fusion_bytes, "--fusion"));
  add(app, "--buffers", "Whose memory: user (malloc) or accl (accl_alloc) (user)", "user|accl",
      [&options](const std::string& text) {
        constexpr std::string_view names[] = {"user", "accl"};
        options.buffers =
            choice("--buffers", text, names) == 0 ? BufferKind::user : BufferKind::accl;
      });
  add(app, "--align", "Alignment of the buffers, a power of two (4K)", "SIZE",
      bytes_into(options.align_bytes, "--align"));
  add(app, "--bind", "core: ranks started by --ranks get a core each, if there are enough (core)",
      "core|none", [&options](const std::string& text) {
        constexpr std::string_view names[] = {"core", "none"};
        options.bind = choice("--bind", text, names) == 0;
      });
  add(app, "--in-place", "0: measure out of place only (1)", "0|1",
      switch_into(options.in_place, "--in-place"));
  add(app, "--device", "host; cuda does not exist yet (host)", "host|cuda",
      [](const std::string& text) {
        constexpr std::string_view names[] = {"host", "cuda"};
        if (choice("--device", text, names) == 0) return;
        fail(ErrorKind::invalid_argument,
             "--device cuda: this build moves host memory only, use --device host");
      });
  app.add_flag("--peers", options.peers,
               "Measure Open MPI, MPICH, Gloo and the bare limit too, interleaved");
  app.add_option_function<std::vector<std::string>>(
         "--tune",
         [&options](const std::vector<std::string>& paths) {
           options.tune = true;
           if (!paths.empty()) options.tune_path = paths.front();
         },
         "Find the best algorithm of each size; write them into this selection table, or print")
      ->type_name("[FILE]")
      ->expected(0, 1);
  app.add_flag("!--no-limits", options.limits, "With --peers: do not measure the machine's limits");
}

// Flags that exclude or need each other.
void check_together(Options& options, bool factor_given) {
  const auto refuse = [](std::string_view text) { fail(ErrorKind::invalid_argument, "{}", text); };
  if (options.min_bytes > options.max_bytes) {
    refuse(fmt::format("-b {} is more than -e {}: give -e at least as much",
                       format_bytes(options.min_bytes), format_bytes(options.max_bytes)));
  }
  if (options.step_bytes != 0 && !factor_given) options.step_factor = 1;
  if (options.step_factor == 1 && options.step_bytes == 0) options.step_bytes = 1 << 20;
  if (options.min_bytes == 0 && options.max_bytes != 0 && options.step_factor > 1) {
    refuse("-b 0 never grows by a factor: give -i STEP or a larger -b");
  }
  if (options.align_bytes < 64 || options.align_bytes > (64 << 20) ||
      !std::has_single_bit(options.align_bytes)) {
    refuse(fmt::format("--align {}: give a power of two from 64 to 64M", options.align_bytes));
  }
  if (options.fusion_bytes == 0) refuse("--fusion 0: give the size of a fusion buffer, as 32M");
  const int placed =
      (options.rank ? 1 : 0) + (options.world ? 1 : 0) + (options.root_address.empty() ? 0 : 1);
  if (options.ranks && placed != 0) {
    refuse("--ranks starts local processes: leave out --rank, --world and --root");
  }
  const bool only_world = options.explain && placed == 1 && options.world;
  if (placed != 0 && placed != 3 && !only_world) {
    refuse("--rank, --world and --root HOST:PORT go together: give all three");
  }
  if (options.rank && *options.rank >= *options.world) {
    refuse(fmt::format("--rank {} is not below --world {}: ranks count from 0", *options.rank,
                       *options.world));
  }
  if (options.per_iteration_skip != 0 && !options.per_iteration) {
    refuse("-K leaves out iterations of -I: give -I 1 too");
  }
  if (options.per_iteration && options.per_iteration_skip >= options.iterations) {
    refuse(fmt::format("-K {} leaves nothing of -n {}: give a smaller -K or a larger -n",
                       options.per_iteration_skip, options.iterations));
  }
}

void check_algorithm(const Options& options) {
  if (options.algorithm == "auto") return;
  if (find_algorithm(options.collective, catalog_algorithm(options)) != nullptr) return;
  const std::string names = algorithm_names(options.collective);
  fail(ErrorKind::invalid_argument, "--algo {}: {} has auto{}{}; choose one of them",
       options.algorithm, name_of(options.collective), names.empty() ? "" : ", ", names);
}

void check_fault(const Options& options) {
  if (!options.fault.empty()) static_cast<void>(parse_fault(options.fault));
}

void check_modes(const Options& options) {
  const std::pair<bool, const char*> modes[] = {{!options.workload_path.empty(), "--workload"},
                                                {options.peers, "--peers"},
                                                {options.tune, "--tune"},
                                                {options.explain, "--explain"}};
  const char* first = nullptr;
  for (const auto& [is_on, name] : modes) {
    if (!is_on) continue;
    if (first != nullptr) {
      fail(ErrorKind::invalid_argument, "{} and {} are two different runs: leave one out", first,
           name);
    }
    first = name;
  }
  if (!options.workload_path.empty() && options.collective != Collective::allreduce) {
    fail(ErrorKind::invalid_argument, "--workload reports allreduces: use 'accl-perf allreduce'");
  }
  const bool is_countable = !options.tune && !options.explain && options.fault.empty();
  if (options.traffic && !is_countable) {
    fail(ErrorKind::invalid_argument,
         "--traffic counts what a good run sends: leave out --tune, --explain and --fault");
  }
  if (options.tune && (!options.fault.empty() || !options.map_path.empty())) {
    fail(ErrorKind::invalid_argument,
         "--tune measures ranks as they sit, without faults: leave out --map and --fault");
  }
  if (options.peers && (options.rank || options.per_iteration || !options.fault.empty())) {
    fail(ErrorKind::invalid_argument,
         "--peers starts its ranks itself: leave out --rank, -I and --fault");
  }
}

void take_map_from_environment(Options& options) {
  if (options.algorithm != "hdrm" || !options.map_path.empty()) return;
  options.map_path = environment_text("ACCL_RANK_MAP");
  if (!options.map_path.empty()) return;
  fail(ErrorKind::invalid_argument,
       "--algo hdrm needs --map FILE or ACCL_RANK_MAP; make one with 'accl-topo map SPEC.yaml "
       "--format json > map.json'");
}

Collective parse_collective(const std::string& name) {
  if (name.empty()) {
    fail(ErrorKind::invalid_argument, "no collective given: choose one of {}, as in '{}'",
         comma_list(collectives), "accl-perf allreduce --ranks 4");
  }
  return *collective_named(collectives[choice("COLLECTIVE", name, collectives)]);
}

}  // namespace

bool has_operation(Collective collective) {
  return collective == Collective::allreduce || collective == Collective::reduce ||
         collective == Collective::reduce_scatter;
}

bool has_root(Collective collective) {
  return collective == Collective::broadcast || collective == Collective::reduce ||
         collective == Collective::gather || collective == Collective::scatter;
}

std::string catalog_algorithm(const Options& options) {
  if (options.algorithm != "hdrm") return options.algorithm;
  if (options.map_path.empty()) return "hd";
  const std::string named = topology::load_rank_map(options.map_path, 0).algorithm;
  return named.empty() ? "hd" : named;
}

std::optional<Options> parse_options(int argc, char** argv) {
  Options options;
  options.arguments.assign(argv, argv + argc);
  CLI::App app("Measures and checks collectives, with the flags and the table of nccl-tests.",
               "accl-perf");
  std::string collective;
  app.add_option("COLLECTIVE", collective, comma_list(collectives));
  app.set_version_flag("--version", "accl-perf " + std::string(version));
  add_size_flags(app, options);
  add_measure_flags(app, options);
  add_fixed_flags(app);
  add_place_flags(app, options);
  add_algorithm_flags(app, options);
  add_work_flags(app, options);
  app.footer(examples);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help_or_version) {
    app.exit(help_or_version);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    fail(ErrorKind::invalid_argument, "{}; 'accl-perf --help' lists all flags", error.what());
  }
  options.collective = parse_collective(collective);
  check_together(options, app.count("-f") != 0);
  check_fault(options);
  take_map_from_environment(options);
  check_modes(options);
  check_algorithm(options);
  return options;
}

void check_options(const Options& options, std::uint32_t world) {
  if (options.root >= world) {
    fail(ErrorKind::invalid_argument, "-r {}: there are {} ranks, give 0 to {} or -1", options.root,
         world, world - 1);
  }
}

}  // namespace accl::perf
