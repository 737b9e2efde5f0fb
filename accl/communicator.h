// communicator.h - collectives over a group of ranks, as a C++ class; accl.h and accl.hpp are thin
// faces of it. One thread at a time runs a call on a communicator, others wait for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "accl/base/error.h"
#include "accl/base/ids.h"
#include "accl/base/types.h"
#include "accl/bootstrap/session.h"
#include "algorithms/catalog.h"
#include "algorithms/plan.h"
#include "algorithms/selection.h"

namespace accl {

class TransportCounters;

struct CommunicatorOptions {
  std::string algorithm = "auto";   // A name of the catalog for every call, or "auto".
  std::string transport = "auto";   // "auto", "shm", "tcp", "ucx", "verbs".
  std::string intra_host = "auto";  // "auto", "direct", "nic": see ConnectionOptions.
  std::optional<First> first;       // Distance of halving-doubling; none: the rank map's, or near.
  std::vector<Rank> order;          // Position -> rank; empty: rank r sits at position r.
  // By rank of the session: the rank map's lane of what this rank sends there, a path of its own
  // through the network. Empty: no map, or one without lanes.
  std::vector<std::uint32_t> lanes;
  std::string nic;    // The rank map's NIC of this rank, where it is an RDMA device; empty: none.
  std::string fault;  // "KIND:K" (transport/fault); empty: none. For showing that checks work.
  std::optional<Choice> choice;  // For every call it fits, in place of the table's: for tuning.
  std::shared_ptr<TransportCounters> counters;  // Counts what is sent, at the cost of some speed.
};

// One collective call. Counts are elements, with accl.h's meaning of buffers.
struct Call {
  Collective collective = Collective::allreduce;
  const void* send = nullptr;
  void* recv = nullptr;
  std::size_t count = 0;
  DataType type = DataType::float32;
  ReduceOp op = ReduceOp::sum;
  double scalar = 1.0;              // premul_sum of floating types.
  std::int64_t integer_scalar = 1;  // premul_sum of integers.
  Rank root{};
  // alltoallv: elements, `size` of each.
  std::span<const std::size_t> send_counts{}, send_offsets{}, recv_counts{}, recv_offsets{};
  // sendrecv: -2 means the next and the previous rank, -1 leaves that half out.
  std::int64_t to = -2, from = -2;
  std::size_t recv_count = 0;  // sendrecv only; count is the send's.
};

class StartedCall {
 public:
  virtual ~StartedCall() = default;
  // Drives a little; true when done. Throws the call's Error, for which it may wait some seconds:
  // all ranks give the same.
  virtual bool test() = 0;
  virtual void wait() = 0;  // Throws the call's Error.
};

// Memory of the user that the network's devices know.
class RegisteredMemory {
 public:
  // Ends that, where it has not ended. Not while a started call uses the memory.
  virtual ~RegisteredMemory() = default;
  // The devices forget the memory; a call that another thread runs is waited for. Throws
  // Error(invalid_usage), and nothing has happened, while a started call uses the memory. Nothing
  // is left to do where the communicator is gone.
  virtual void end() = 0;
};

class Communicator {
 public:
  // Collective over the session's ranks. `number` is the same on all of them, below 2^32, and
  // never used twice in a session: one session may carry several communicators.
  static std::unique_ptr<Communicator> create(std::shared_ptr<Session> session,
                                              const CommunicatorOptions& options,
                                              std::uint32_t number = 1);
  virtual ~Communicator() = default;

  virtual Rank rank() const = 0;
  virtual std::uint32_t size() const = 0;

  // Throws Error: invalid_argument before anything moved; otherwise the communicator has failed
  // and gives the same Error from then on.
  virtual void run(const Call& call) = 0;
  virtual std::unique_ptr<StartedCall> start(const Call& call) = 0;

  // Not collective: makes memory known to the devices that carry this communicator's messages.
  // Throws Error: invalid_argument where there can be no such memory, system where a device or a
  // limit refuses it; and what the communicator failed with. Any number of ranges, also the same
  // one again, and ranges inside one another.
  virtual std::unique_ptr<RegisteredMemory> add(std::span<std::byte> memory) = 0;

  // Collective. Null for a negative colour.
  virtual std::unique_ptr<Communicator> split(int color, int key) = 0;
  // Collective. Another one of the same ranks, seated alike and with the same settings, that counts
  // what this rank sends. It has connections of its own, so this one is as fast as before.
  virtual std::unique_ptr<Communicator> counting(std::shared_ptr<TransportCounters> counters) = 0;
  virtual void abort() = 0;  // From any thread.

  // What every call gives from now on; empty while all is well. From any thread.
  virtual std::optional<Error> failure() const = 0;

  // What a call of this size would use: "ring", "hd", ...
  virtual std::string algorithm_for(const Call& call) const = 0;
  // The transports in use so far, "shm" or "shm+tcp"; empty before the first call.
  virtual std::string transports() const = 0;
  // What selection tables know them by, before any call: "shm", "tcp", "shm+tcp", ...
  virtual std::string expected_transport() const = 0;
  virtual const std::shared_ptr<Session>& session() const = 0;
};

}  // namespace accl
