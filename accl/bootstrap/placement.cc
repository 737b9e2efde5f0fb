#include <unistd.h>

#include "accl/base/error.h"
#include "accl/base/units.h"
#include "accl/bootstrap/address.h"
#include "accl/bootstrap/identity.h"
#include "accl/bootstrap/unique_id.h"

// find_placement: what launchers tell their processes, and where the ranks of a job that has no
// named root can find each other.

namespace accl {
namespace {

using bootstrap::hash_text;

constexpr std::int64_t ranks_limit = bootstrap::rank_limit;

bool is_set(const char* name) { return !environment_text(name).empty(); }

std::uint32_t required_number(const char* name, const char* because, std::int64_t low,
                              std::int64_t high) {
  if (!is_set(name)) {
    fail(ErrorKind::invalid_argument, "{} is set but {} is not; set both, or neither", because,
         name);
  }
  return static_cast<std::uint32_t>(environment_number(name, 0, low, high));
}

// Both or neither of a launcher's two numbers, and the first below the second.
Placement read_ranks(const char* rank, const char* size, const char* launcher) {
  Placement placement;
  placement.size = required_number(size, rank, 1, ranks_limit);
  placement.rank = required_number(rank, size, 0, ranks_limit);
  placement.launcher = launcher;
  if (placement.rank >= placement.size) {
    fail(ErrorKind::invalid_argument, "{}={} but {}={}: ranks go from 0 to {}", rank,
         placement.rank, size, placement.size, placement.size - 1);
  }
  return placement;
}

// All ranks of one job come to the same port, two jobs of one host hardly ever. A port below those
// that the kernel gives to whoever asks for any.
std::string loopback_root(const std::string& job) {
  constexpr std::uint64_t first = 10000;
  constexpr std::uint64_t ports = 22000;
  const bool v6 = bootstrap::wanted_family() == AF_INET6;
  return fmt::format("{}:{}", v6 ? "[::1]" : "127.0.0.1", first + hash_text(job) % ports);
}

std::optional<Placement> from_accl() {
  if (!is_set("ACCL_RANK") && !is_set("ACCL_WORLD_SIZE")) return std::nullopt;
  return read_ranks("ACCL_RANK", "ACCL_WORLD_SIZE", "ACCL_RANK");
}

std::optional<Placement> from_torchrun() {
  // RANK alone is too common a word.
  if (!is_set("RANK") || !is_set("WORLD_SIZE") || !is_set("MASTER_ADDR")) return std::nullopt;
  Placement placement = read_ranks("RANK", "WORLD_SIZE", "torchrun");
  // The store of torchrun has MASTER_PORT itself.
  const std::uint32_t port = required_number("MASTER_PORT", "MASTER_ADDR", 1, 65534) + 1;
  const std::string host = environment_text("MASTER_ADDR");
  const bool v6 = host.find(':') != std::string::npos && host.front() != '[';
  placement.root = v6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
  placement.job =
      fmt::format("torchrun {} {} {}", environment_text("TORCHELASTIC_RUN_ID"),
                  environment_text("TORCHELASTIC_RESTART_COUNT"), environment_text("MASTER_PORT"));
  return placement;
}

// PMIx names the job, mpirun's contact makes that name differ between machines.
std::optional<Placement> from_open_mpi() {
  if (!is_set("OMPI_COMM_WORLD_RANK")) return std::nullopt;
  Placement placement = read_ranks("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "Open MPI");
  placement.job = fmt::format("Open MPI {} {} {}", environment_text("PMIX_NAMESPACE"),
                              environment_text("OMPI_MCA_ess_base_jobid"),
                              environment_text("OMPI_MCA_orte_hnp_uri"));
  // A few random words that mpirun makes for its transports: the closest it has to a secret.
  placement.job += environment_text("OMPI_MCA_orte_precondition_transports");
  const std::int64_t here = environment_number("OMPI_COMM_WORLD_LOCAL_SIZE", 0, 0, ranks_limit);
  if (here == placement.size) placement.root = loopback_root(placement.job);
  return placement;
}

// MPICH gives its processes no name of the job. All ranks of a host descend from one proxy of its
// process manager; a shell may stand between.
std::string mpich_job() {
  const long parent = getppid();
  long pid = parent;
  constexpr int generations = 16;
  for (int i = 0; i < generations && pid > 1; ++i) {
    const bootstrap::Process process = bootstrap::look_up_process(pid);
    if (process.name.starts_with("hydra_pmi_prox")) {
      return fmt::format("MPICH {} {}", pid, process.started);
    }
    pid = process.parent;
  }
  return fmt::format("MPICH {} {}", parent, bootstrap::look_up_process(parent).started);
}

// Hydra; PMI_PORT is there where ranks reach it by address instead of an inherited socket.
std::optional<Placement> from_mpich() {
  if (!is_set("PMI_RANK") || !is_set("PMI_SIZE")) return std::nullopt;
  Placement placement = read_ranks("PMI_RANK", "PMI_SIZE", "MPICH");
  const std::int64_t here = environment_number("MPI_LOCALNRANKS", 0, 0, ranks_limit);
  // Slurm can speak this protocol too, and says more by its own variables.
  if (here != placement.size && is_set("SLURM_STEP_NODELIST")) return std::nullopt;
  placement.job = is_set("PMI_PORT") ? "MPICH " + environment_text("PMI_PORT") : mpich_job();
  if (here == placement.size) placement.root = loopback_root(placement.job);
  return placement;
}

// "node[03-05,9],x" -> "node03"; "rack[1-2]n[5-7]" -> "rack1n5".
std::string first_host(const std::string& list) {
  std::string host;
  for (std::size_t i = 0; i < list.size() && list[i] != ','; ++i) {
    if (list[i] != '[') {
      host += list[i];
      continue;
    }
    const std::size_t close = list.find(']', i);
    if (close == std::string::npos) {
      fail(ErrorKind::invalid_argument,
           "SLURM_STEP_NODELIST='{}': no list of hosts; set ACCL_ROOT to host:port of rank 0",
           list);
    }
    const std::string ranges = list.substr(i + 1, close - i - 1);
    host += ranges.substr(0, ranges.find_first_of("-,"));
    i = close;
  }
  return host;
}

std::optional<Placement> from_slurm() {
  // A batch script has SLURM_PROCID too, but is no rank of a step.
  if (!is_set("SLURM_PROCID") || !is_set("SLURM_STEP_NODELIST")) return std::nullopt;
  const char* const size = is_set("SLURM_STEP_NUM_TASKS") ? "SLURM_STEP_NUM_TASKS" : "SLURM_NTASKS";
  Placement placement = read_ranks("SLURM_PROCID", size, "Slurm");
  const std::string host = first_host(environment_text("SLURM_STEP_NODELIST"));
  placement.job = fmt::format("Slurm {} {}", environment_text("SLURM_JOB_ID"),
                              environment_text("SLURM_STEP_ID"));
  const std::string loopback = loopback_root(placement.job);
  placement.root = host + loopback.substr(loopback.rfind(':'));
  return placement;
}

}  // namespace

std::optional<Placement> find_placement() {
  std::optional<Placement> placement = from_accl();
  if (!placement) placement = from_torchrun();
  if (!placement) placement = from_open_mpi();
  if (!placement) placement = from_mpich();
  if (!placement) placement = from_slurm();
  if (placement && is_set("ACCL_ROOT")) placement->root = environment_text("ACCL_ROOT");
  return placement;
}

}  // namespace accl
