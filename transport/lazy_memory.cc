#include "transport/lazy_memory.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>

#include "accl/base/error.h"

namespace accl {

LazyMemory::LazyMemory(std::size_t bytes) {
  void* const memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    fail_system(fmt::format("cannot map {} bytes for messages", bytes), errno);
  }
  bytes_ = {static_cast<std::byte*>(memory), bytes};
}

LazyMemory::~LazyMemory() { ::munmap(bytes_.data(), bytes_.size()); }

}  // namespace accl
