// regions.cc - memory that the fake's devices know: by its pages, by a kernel module that knows
// others' addresses, or by a descriptor.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tests/verbs/fake/state.h"

namespace accl::fake {
namespace {

constexpr std::uint64_t page = 4096;

void record(const char* call) {
  if (state().recorder != nullptr) state().recorder(call);
}

// The kernel finds out without a signal. It must look at the set before it sees that there is no
// such thing to do with it.
bool is_readable(const void* address) {
  const auto begin = reinterpret_cast<std::uintptr_t>(address) & ~std::uintptr_t{7};
  return ::syscall(SYS_rt_sigprocmask, -1, begin, nullptr, 8) == 0 || errno != EFAULT;
}

bool refuses(unsigned access) {
  if (fails()) return true;
  if (!state().refuses_relaxed || (access & IBV_ACCESS_RELAXED_ORDERING) == 0) return false;
  errno = EINVAL;
  return true;
}

ibv_mr* enter(ibv_pd* pd, Mr* region, std::uint64_t address, std::size_t bytes, unsigned access) {
  region->context = pd->context;
  region->pd = pd;
  region->addr = reinterpret_cast<void*>(address);
  region->length = bytes;
  region->access = static_cast<int>(access);
  region->lkey = region->rkey = ++state().next_number;
  state().regions[region->lkey] = region;
  ++static_cast<Pd*>(pd)->users;
  ++state().living;
  return region;
}

// A second mapping of memory that is shared, as a device has pinned it; others are used in place.
void pin(Mr& region, std::uint64_t address, std::size_t bytes) {
  const std::uint64_t begin = address & ~(page - 1);
  const std::size_t length = (address + bytes - begin + page - 1) & ~(page - 1);
  void* const twin = ::mremap(reinterpret_cast<void*>(begin), 0, length, MREMAP_MAYMOVE);
  region.bytes = reinterpret_cast<std::byte*>(address);
  if (twin == MAP_FAILED) return;
  region.mapping = twin;
  region.mapped = length;
  region.bytes = static_cast<std::byte*>(twin) + (address - begin);
}

ibv_mr* register_addresses(ibv_pd* pd, void* address, std::size_t bytes, unsigned access) {
  if (refuses(access)) return nullptr;
  auto* const first = static_cast<std::byte*>(address);
  std::byte* const theirs =
      state().peer_memory != nullptr ? state().peer_memory(address, bytes) : nullptr;
  const bool is_there = is_readable(first) && is_readable(first + bytes - 1);
  if (theirs == nullptr && !is_there) {
    errno = EFAULT;
    return nullptr;
  }
  auto* const region = new Mr;
  if (theirs != nullptr) {
    region->bytes = theirs;
  } else {
    pin(*region, reinterpret_cast<std::uint64_t>(address), bytes);
  }
  return enter(pd, region, reinterpret_cast<std::uint64_t>(address), bytes, access);
}

// Maps what the descriptor has at `offset`, counted from its position; false, and errno.
bool map_file(Mr& region, int file, std::uint64_t offset, std::size_t bytes) {
  const off_t begin = ::lseek(file, 0, SEEK_CUR);
  struct stat info {};
  if (begin < 0 || ::fstat(file, &info) != 0) return false;  // EBADF
  const std::uint64_t inside = offset & (page - 1);
  const auto at = static_cast<std::uint64_t>(begin) + offset - inside;
  errno = EINVAL;
  if (at + inside + bytes > static_cast<std::uint64_t>(info.st_size)) return false;
  region.mapped = (inside + bytes + page - 1) & ~(page - 1);
  region.mapping = ::mmap(nullptr, region.mapped, PROT_READ | PROT_WRITE, MAP_SHARED, file,
                          static_cast<off_t>(at));
  if (region.mapping == MAP_FAILED) return false;
  region.bytes = static_cast<std::byte*>(region.mapping) + inside;
  region.is_dma_buf = true;
  return true;
}

}  // namespace

const Mr* region_of(std::uint32_t key, std::uint64_t address, std::uint64_t bytes) {
  const auto found = state().regions.find(key);
  if (found == state().regions.end()) return nullptr;
  const Mr* const region = found->second;
  const auto begin = reinterpret_cast<std::uint64_t>(region->addr);
  const bool is_inside = address >= begin && address + bytes <= begin + region->length;
  return is_inside ? region : nullptr;
}

std::byte* bytes_at(const Mr& region, std::uint64_t address) {
  return region.bytes + (address - reinterpret_cast<std::uint64_t>(region.addr));
}

}  // namespace accl::fake

using namespace accl::fake;

extern "C" {

ibv_mr* ibv_reg_mr(ibv_pd* pd, void* address, std::size_t bytes, int access) {
  const Lock lock(state().mutex);
  record("ibv_reg_mr");
  return register_addresses(pd, address, bytes, static_cast<unsigned>(access));
}

ibv_mr* ibv_reg_mr_iova2(ibv_pd* pd, void* address, std::size_t bytes, std::uint64_t iova,
                         unsigned access) {
  const Lock lock(state().mutex);
  record("ibv_reg_mr_iova2");
  if (iova != reinterpret_cast<std::uint64_t>(address)) violate("memory under another address");
  return register_addresses(pd, address, bytes, access);
}

ibv_mr* ibv_reg_dmabuf_mr(ibv_pd* pd, std::uint64_t offset, std::size_t bytes, std::uint64_t iova,
                          int file, int access) {
  const Lock lock(state().mutex);
  record(file < 0 ? "ibv_reg_dmabuf_mr of no file" : "ibv_reg_dmabuf_mr");
  if (refuses(static_cast<unsigned>(access))) return nullptr;
  errno = state().dma_buf_error;
  if (errno != 0) return nullptr;
  if (((offset ^ iova) & (page - 1)) != 0) violate("a dma-buf whose offset and address differ");
  auto* const region = new Mr;
  if (map_file(*region, file, offset, bytes)) {
    return enter(pd, region, iova, bytes, static_cast<unsigned>(access));
  }
  delete region;
  return nullptr;
}

int ibv_dereg_mr(ibv_mr* pointer) {
  const Lock lock(state().mutex);
  record("ibv_dereg_mr");
  auto* const region = static_cast<Mr*>(pointer);
  --static_cast<Pd*>(region->pd)->users;
  state().regions.erase(region->lkey);
  if (region->mapping != nullptr) ::munmap(region->mapping, region->mapped);
  return end_object(region, 0);
}

void fake_verbs_set_dma_buf(int error) {
  const Lock lock(state().mutex);
  state().dma_buf_error = error;
}

void fake_verbs_set_peer_memory(FakePeerMemory* resolve) {
  const Lock lock(state().mutex);
  state().peer_memory = resolve;
}

void fake_verbs_refuse_relaxed() {
  const Lock lock(state().mutex);
  state().refuses_relaxed = true;
}

void fake_verbs_set_recorder(FakeRecorder* recorder) {
  const Lock lock(state().mutex);
  state().recorder = recorder;
}

std::uint32_t fake_verbs_regions(FakeVerbsRegion* regions, std::uint32_t most) {
  const Lock lock(state().mutex);
  std::uint32_t count = 0;
  for (const auto& [key, region] : state().regions) {
    if (count < most) {
      regions[count] = {.address = reinterpret_cast<std::uint64_t>(region->addr),
                        .bytes = region->length,
                        .key = key,
                        .access = region->access,
                        .is_dma_buf = region->is_dma_buf};
    }
    ++count;
  }
  return count;
}

bool fake_verbs_read(std::uint32_t key, std::uint64_t address, void* to, std::uint64_t bytes) {
  const Lock lock(state().mutex);
  const Mr* const region = region_of(key, address, bytes);
  if (region != nullptr) std::memcpy(to, bytes_at(*region, address), bytes);
  return region != nullptr;
}
}
