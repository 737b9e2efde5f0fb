// bare.cc - the limit to measure against: allreduce over memory that all ranks map, with no library
// round it. No messages, no plans, no failures, no checks: a rank that dies hangs the others.
// Usage: accl-peer-bare SOCKET RANK SIZE FOLDER
//
// Small vectors: each rank puts its own into a slot that all read, and reduces all slots. Two slots
// in turn are enough: who posted call k has read every slot of call k-1.
// Large vectors: slice by slice, each rank puts its slice into shared staging (share), reduces its
// own chunk of it from everyone's (reduce), and copies the other chunks (collect). The three stages
// work on three slices at once.
#include <fcntl.h>
#include <fmt/format.h>
#include <immintrin.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <exception>
#include <filesystem>
#include <optional>
#include <string>

#include "accl/base/clock.h"
#include "accl/base/error.h"
#include "accl/base/fd.h"
#include "accl/kernels/kernels.h"
#include "bench/peers/serve.h"

namespace {

using accl::Collective;
using accl::DataType;
using accl::ReduceOp;
using accl::Store;
using accl::peers::Order;

constexpr std::size_t most_ranks = 16;
constexpr std::size_t small_bytes = 16384;
constexpr std::size_t tiny_bytes = 56;  // Fits beside its stamp in one cache line.
constexpr std::size_t most_slice_bytes = 256 << 10;
constexpr std::size_t stream_bytes = 16 << 20;
constexpr accl::Milliseconds join_patience{20'000};
constexpr std::size_t depth = 3;  // Slices of staging.

struct alignas(64) Slot {
  std::atomic<std::uint64_t> stamp{0};  // Number of the call whose data lies here.
  std::array<std::byte, tiny_bytes> tiny;
  alignas(64) std::array<std::byte, small_bytes> data;
};

struct alignas(64) Counter {
  std::atomic<std::uint64_t> slices{0};
};

struct Rank {
  std::array<Slot, 2> slots;
  Counter shared, reduced, collected;  // Slices since the start, by stage.
  alignas(4096) std::array<std::array<std::byte, most_slice_bytes>, depth> given;
  std::array<std::array<std::byte, most_slice_bytes>, depth> results;
};

struct Area {
  std::atomic<std::uint32_t> joined{0};
  std::array<Rank, most_ranks> ranks;
};

// A name for shared memory that is gone as soon as all ranks have mapped it, or one gives up.
class Name {
 public:
  explicit Name(const std::string& folder)
      : text_("/accl-bare-" + std::filesystem::path(folder).filename().string()) {}
  ~Name() { ::shm_unlink(text_.c_str()); }
  const std::string& text() const { return text_; }

 private:
  const std::string text_;
};

// Memory that every rank maps.
Area& map_area(const std::string& name) {
  const accl::Fd file(::shm_open(name.c_str(), O_CREAT | O_RDWR, 0600));
  if (!file || ::ftruncate(file.get(), sizeof(Area)) != 0) accl::fail_system(name, errno);
  void* const memory =
      ::mmap(nullptr, sizeof(Area), PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (memory == MAP_FAILED) accl::fail_system(name, errno);
  return *static_cast<Area*>(memory);  // Zeros are the right start of every counter.
}

// As accl-perf and mpirun do where every rank has a core.
void bind_to_core(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  static_cast<void>(::sched_setaffinity(0, sizeof set, &set));
}

class Bare final : public accl::peers::Library {
 public:
  Bare(std::uint32_t rank, std::uint32_t size, const Name& name)
      : rank_(rank),
        size_(size),
        is_crowded_(size > static_cast<std::uint32_t>(::sysconf(_SC_NPROCESSORS_ONLN))),
        area_(map_area(name.text())) {
    area_.joined.fetch_add(1);
    const accl::Deadline deadline(join_patience);
    while (area_.joined.load() < size && !deadline.passed()) ::usleep(1000);
    if (area_.joined.load() < size) accl::fail(accl::ErrorKind::timeout, "a rank is missing");
    if (!is_crowded_) bind_to_core(static_cast<int>(rank));
  }

  std::uint32_t rank() const override { return rank_; }
  std::uint32_t size() const override { return size_; }
  std::string version() const override { return "shared memory without a library"; }

  void barrier() override {
    const std::byte nothing{};
    std::byte result{};
    small(&nothing, &result, 1, DataType::uint8, ReduceOp::max);
  }

  bool supports(const Order& order) const override {
    return static_cast<Collective>(order.collective) == Collective::allreduce &&
           static_cast<ReduceOp>(order.op) != ReduceOp::avg;
  }

  void run(const Order& order, std::byte* send, std::byte* recv) override {
    const auto type = static_cast<DataType>(order.type);
    const auto op = static_cast<ReduceOp>(order.op);
    if (order.count * size_of(type) <= small_bytes) {
      small(send, recv, order.count, type, op);
    } else {
      large(send, recv, order.count, type, op);
    }
  }

 private:
  void wait_for(const std::atomic<std::uint64_t>& counter, std::uint64_t value) const {
    for (int looks = 0; counter.load(std::memory_order_acquire) < value; ++looks) {
      if (is_crowded_ && looks >= 4) {
        ::sched_yield();
      } else {
        _mm_pause();
      }
    }
  }

  void small(const std::byte* send, std::byte* recv, std::size_t count, DataType type,
             ReduceOp op) {
    const std::size_t bytes = count * size_of(type);
    const std::uint64_t call = ++calls_;
    const auto place = [&](Slot& slot) {
      return bytes <= tiny_bytes ? slot.tiny.data() : slot.data.data();
    };
    Slot& own = area_.ranks[rank_].slots[call % 2];
    copy_bytes(place(own), send, bytes, Store::cached);
    own.stamp.store(call, std::memory_order_release);
    const accl::ReduceKernel reduce = accl::reduce_kernel(type, op);
    for (std::uint32_t r = 0; r < size_; ++r) wait_for(area_.ranks[r].slots[call % 2].stamp, call);
    const std::byte* so_far = place(area_.ranks[0].slots[call % 2]);
    for (std::uint32_t r = 1; r < size_; ++r) {
      reduce(recv, so_far, place(area_.ranks[r].slots[call % 2]), count, Store::cached);
      so_far = recv;
    }
  }

  struct Vector {
    const std::byte* send;
    std::byte* recv;
    std::size_t count, width, slice;  // slice: elements.
    DataType type;
    accl::ReduceKernel reduce;
    Store store;
    std::uint64_t base;  // Slices before this call.

    std::size_t slices() const { return (count + slice - 1) / slice; }
    std::size_t length(std::uint64_t k) const { return std::min(slice, count - k * slice); }
  };

  void large(const std::byte* send, std::byte* recv, std::size_t count, DataType type,
             ReduceOp op) {
    const std::size_t width = size_of(type);
    const std::size_t bytes = count * width;
    const std::size_t slice = std::clamp<std::size_t>(bytes / 4, 32768, slice_bytes()) / width;
    const Vector all{send,
                     recv,
                     count,
                     width,
                     slice,
                     type,
                     accl::reduce_kernel(type, op),
                     bytes >= stream_bytes ? Store::stream : Store::cached,
                     slices_};
    const std::uint64_t slices = all.slices();
    for (std::uint64_t k = 0; k < slices + 2; ++k) {
      if (k < slices) share(all, k);
      if (k >= 1 && k - 1 < slices) reduce(all, k - 1);
      if (k >= 2) collect(all, k - 2);
    }
    slices_ += slices;
  }

  // What a slice of staging should be at most; the cores' caches hold all of it.
  std::size_t slice_bytes() const { return size_ <= 2 ? 128 << 10 : 256 << 10; }

  std::size_t chunk_begin(const Vector& all, std::uint64_t k, std::uint32_t rank) const {
    return all.length(k) * rank / size_;
  }

  void share(const Vector& all, std::uint64_t k) {
    const std::uint64_t at = all.base + k;
    Rank& own = area_.ranks[rank_];
    for (std::uint32_t r = 0; r < size_ && at >= depth; ++r) {
      wait_for(area_.ranks[r].reduced.slices, at - depth + 1);
    }
    const std::byte* const from = all.send + k * all.slice * all.width;
    std::byte* const to = own.given[at % depth].data();
    const std::size_t mine = chunk_begin(all, k, rank_) * all.width;
    const std::size_t after = chunk_begin(all, k, rank_ + 1) * all.width;
    copy_bytes(to, from, mine, Store::cached);
    copy_bytes(to + after, from + after, all.length(k) * all.width - after, Store::cached);
    own.shared.slices.store(at + 1, std::memory_order_release);
  }

  void reduce(const Vector& all, std::uint64_t k) {
    const std::uint64_t at = all.base + k;
    const std::size_t begin = chunk_begin(all, k, rank_);
    const std::size_t count = chunk_begin(all, k, rank_ + 1) - begin;
    const std::size_t offset = begin * all.width;
    const std::size_t in_user = k * all.slice * all.width + offset;
    Rank& own = area_.ranks[rank_];
    std::byte* const result = own.results[at % depth].data() + offset;
    for (std::uint32_t r = 0; r < size_ && at >= depth; ++r) {
      wait_for(area_.ranks[r].collected.slices, at - depth + 1);
    }
    for (std::uint32_t r = 0; r < size_; ++r) wait_for(area_.ranks[r].shared.slices, at + 1);
    // Block by block, so that a block is read again from the first-level cache.
    constexpr std::size_t block = 8192;
    for (std::size_t done = 0; done < count * all.width; done += block) {
      const std::size_t bytes = std::min(block, count * all.width - done);
      const std::byte* so_far = all.send + in_user + done;
      for (std::uint32_t r = 0; r < size_; ++r) {
        if (r == rank_) continue;
        const std::byte* const given = area_.ranks[r].given[at % depth].data() + offset + done;
        all.reduce(result + done, so_far, given, bytes / all.width, Store::cached);
        so_far = result + done;
      }
      copy_bytes(all.recv + in_user + done, result + done, bytes, all.store);
    }
    own.reduced.slices.store(at + 1, std::memory_order_release);
  }

  void collect(const Vector& all, std::uint64_t k) {
    const std::uint64_t at = all.base + k;
    for (std::uint32_t r = 0; r < size_; ++r) {
      if (r == rank_) continue;
      wait_for(area_.ranks[r].reduced.slices, at + 1);
      const std::size_t begin = chunk_begin(all, k, r) * all.width;
      const std::size_t end = chunk_begin(all, k, r + 1) * all.width;
      copy_bytes(all.recv + k * all.slice * all.width + begin,
                 area_.ranks[r].results[at % depth].data() + begin, end - begin, all.store);
    }
    area_.ranks[rank_].collected.slices.store(at + 1, std::memory_order_release);
  }

  const std::uint32_t rank_, size_;
  const bool is_crowded_;
  Area& area_;
  std::uint64_t calls_ = 0;
  std::uint64_t slices_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    fmt::print(stderr, "{}: accl-perf --peers starts this program\n", argv[0]);
    return 2;
  }
  try {
    const auto size = static_cast<std::uint32_t>(std::stoul(argv[3]));
    if (size > most_ranks) {
      accl::fail(accl::ErrorKind::invalid_argument, "at most {} ranks", most_ranks);
    }
    std::optional<Name> name(argv[4]);
    Bare bare(static_cast<std::uint32_t>(std::stoul(argv[2])), size, *name);
    name.reset();
    accl::peers::serve(bare, argv[1]);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: {}\n", argv[0], error.what());
    return 1;
  }
  return 0;
}
