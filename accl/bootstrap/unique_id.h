// unique_id.h - the 128 bytes that let ranks find each other, and the launch variables that may
// stand in for them.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace accl {

struct UniqueId {
  std::array<char, 128> bytes{};
};

// Opens a listening root in this process, served by a thread until all ranks have joined or the
// process ends, and gives the id that leads there: address (ACCL_SOCKET_IFNAME and
// ACCL_SOCKET_FAMILY choose the interface: names by prefix, "^" excludes, "=" is exact; without
// them the first that is up and not loopback, else loopback), port, and a random secret.
UniqueId make_unique_id();

// An id for a root that every rank can name beforehand: rank 0 listens at `root` ("host:port",
// "[ipv6]:port"), the secret is derived from `job` (any text that all ranks share; may be empty).
// Throws Error(invalid_argument) that names the address and what is wrong with it.
UniqueId unique_id_of(const std::string& root, const std::string& job);

// Where this process stands in a job, as its launcher says.
struct Placement {
  std::uint32_t rank = 0;
  std::uint32_t size = 1;
  std::string root;      // "host:port"; empty where the launcher says none.
  std::string job;       // Text all ranks share; empty where there is none.
  std::string launcher;  // "ACCL_RANK", "Open MPI", "MPICH", "Slurm", "torchrun": for messages.
};

// Reads, in this order: ACCL_RANK, ACCL_WORLD_SIZE, ACCL_ROOT; torchrun's RANK, WORLD_SIZE,
// MASTER_ADDR, MASTER_PORT (root at MASTER_PORT + 1, the store has MASTER_PORT itself); Open MPI's
// OMPI_COMM_WORLD_*; MPICH's PMI_*; Slurm's SLURM_PROCID, SLURM_NTASKS, SLURM_STEP_NODELIST (first
// host, a port derived from the job id). ACCL_ROOT overrides the root of any of them. Where a
// launcher names no root and all ranks are on one host (OMPI_COMM_WORLD_LOCAL_SIZE == SIZE, MPICH's
// MPI_LOCALNRANKS == PMI_SIZE) the root is loopback with a port derived from the job's identity
// (OMPI_MCA_ess_base_jobid and OMPI_MCA_orte_hnp_uri..., PMI_PORT/parent pid...).
// Empty where no launcher's variables are set. Throws Error(invalid_argument) naming the variable
// where they are there and make no sense.
std::optional<Placement> find_placement();

}  // namespace accl
