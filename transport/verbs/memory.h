// memory.h - memory that users registered with a transport, and what each of its rails calls it.
//
// Registration is explicit: whoever adds memory drops it before the memory is unmapped or freed,
// and after nothing that uses it is under way. Nothing watches malloc, so what is mapped at the
// same address later is other memory, which is added anew.
//
// How the data path asks, for a piece that a device shall read or write in place:
//
//   const Registration* const known = registry.find(piece);
//   const ibv_mr* const region = known != nullptr ? known->on(rail) : nullptr;
//   if (region != nullptr) ...  region->lkey here, region->rkey for peers, at the piece's address
//   else                   ...  copy: registry.copy_to_host() into a registered ring
//
// find() gives the whole of a piece or nothing; a piece that lies in two neighbours is copied. What
// it gives is good until the next add, drop or change of rails. A write gathers at most one piece
// of a GPU's memory: some drivers refuse several. After peers wrote to GPU memory, and before
// anybody is told, comes flush().
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "accl/base/cuda.h"
#include "accl/base/memory.h"
#include "transport/verbs/gpu_direct.h"
#include "transport/verbs/loopback.h"

namespace accl::verbs {

// A GPU of which memory was added.
struct Gpu {
  Gpu(const cuda::Api& api, int ordinal, const GpuSettings& settings)
      : device(api, ordinal), flush(flush_of(api, device, settings)) {}
  cuda::Device device;
  Flush flush;
};

// A range as the devices know it.
class Registration {
 public:
  std::span<std::byte> bytes() const { return bytes_; }
  // Null on the host.
  const Gpu* gpu() const { return gpu_; }
  // Null: on this rail the memory must be staged.
  const ibv_mr* on(std::size_t rail) const { return regions_[rail].get(); }

 private:
  friend class Registry;
  std::span<std::byte> bytes_;
  const Gpu* gpu_ = nullptr;
  bool is_managed_ = false;   // Moves between host and GPU, so no device may know it.
  std::uint64_t buffer_ = 0;  // The allocation of a GPU's memory, which is not its address.
  std::vector<Owned<ibv_mr>> regions_;  // By rail.
  std::uint32_t owners_ = 0;
  bool is_freed_ = false;  // It is other memory by now.
};

// One thread at a time, as everything of a transport.
class Registry {
 public:
  explicit Registry(const GpuSettings& settings) : settings_(settings) {}
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;
  ~Registry();

  // A rail by its number, which counts from 0. The port outlives it or its drop_rail.
  std::size_t add_rail(const Port& port);
  // All of its registrations end; until another takes the number, memory is staged there.
  void drop_rail(std::size_t rail);
  // A rail that took the place of a dropped one. What is registered now becomes known to it; what
  // it refuses is staged there, and a warning says so.
  void replace_rail(std::size_t rail, const Port& port);

  // Somebody's claim to a range that the devices know. Ranges inside one another share what the
  // devices hold; the last claim to go ends that. A claim is dropped before the registry ends.
  class Claim {
   public:
    Claim(Claim&& other) noexcept;
    Claim& operator=(Claim&&) = delete;
    ~Claim();
    const Registration& registration() const { return *registration_; }
    std::span<std::byte> bytes() const { return bytes_; }

   private:
    friend class Registry;
    Claim(Registry& registry, Registration& registration, std::span<std::byte> bytes)
        : registry_(&registry), registration_(&registration), bytes_(bytes) {}
    Registry* registry_;
    Registration* registration_;
    std::span<std::byte> bytes_;
  };

  // The memory must not be empty. Throws Error: invalid_argument where it is not what `memory` says
  // or a setting forces what cannot be; system where a device refuses it (the limit of locked
  // memory is named) or, for memory of a GPU, the CUDA driver cannot be used.
  Claim add(const Memory& memory);

  // --- The data path: no allocation and no lock, and for the host's memory no system call -------

  // Whose claim holds all of these bytes; null: nobody's.
  const Registration* find(std::span<const std::byte> bytes);

  // Copies bytes of any kind: those of a GPU by the CUDA driver, which waits for it, if somebody
  // added the first of them.
  [[nodiscard]] cuda::Result copy_to_host(std::byte* to, std::span<const std::byte> from);
  std::string words(cuda::Result result) const;

  // Comes before anybody is told of data that arrived in memory of this registration. Waits some
  // microseconds where a GPU needs it. Gives what went wrong in words; empty: nothing did.
  [[nodiscard]] std::string flush(const Registration& registration);

 private:
  struct Rail {
    const Port* port = nullptr;  // Null: dropped.
    std::map<int, GpuDirect> gpus;
    std::unique_ptr<Loopback> loopback{};  // Where a GPU's writes are flushed by reading back.
  };
  // A range that somebody claims, in the order of their beginnings.
  struct Entry {
    const std::byte* begin = nullptr;
    const std::byte* end = nullptr;
    const std::byte* reach = nullptr;  // The furthest end up to here.
    Registration* registration = nullptr;
    std::uint32_t owners = 0;
  };

  Gpu& gpu_of(int ordinal);
  std::unique_ptr<Registration> describe(const Memory& memory);
  std::unique_ptr<Registration> describe_cuda(const Memory& memory);
  void forget_freed(const Registration& added);
  Owned<ibv_mr> make_known(const Registration& registration, Rail& rail);
  bool can_flush(const Gpu& gpu, Rail& rail) const;
  const Entry* holder(const std::byte* begin, const std::byte* end) const;
  void claim(const std::byte* begin, const std::byte* end, Registration& registration);
  void drop(const Claim& claim);
  void changed();

  const GpuSettings settings_;
  std::optional<cuda::Api> cuda_;
  std::map<int, std::unique_ptr<Gpu>> gpus_;
  std::vector<Rail> rails_;
  std::vector<std::unique_ptr<Registration>> registrations_;
  std::vector<Entry> entries_;
  Entry memo_;               // What was found last.
  std::size_t on_gpus_ = 0;  // Of registrations_.
};

}  // namespace accl::verbs
