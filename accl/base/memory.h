// memory.h - a run of bytes and the device it lies on. Everything that takes user memory takes
// this, so that memory of another kind needs no other interface.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace accl {

enum class MemoryKind : std::uint8_t { host, cuda };

struct Memory {
  std::span<std::byte> bytes;
  MemoryKind kind = MemoryKind::host;
  int device = -1;  // CUDA ordinal; -1 on the host.
  int file = -1;    // A memfd or dma-buf that exports these bytes, where there is one; not owned.
};

}  // namespace accl
