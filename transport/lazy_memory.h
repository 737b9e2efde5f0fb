// lazy_memory.h - anonymous memory that is there when it is touched: rings are large, and most of
// them are never used to the end.
#pragma once

#include <cstddef>
#include <span>

namespace accl {

class LazyMemory {
 public:
  // Zeros. Throws Error (system) where the address space is at its limit.
  explicit LazyMemory(std::size_t bytes);
  LazyMemory(const LazyMemory&) = delete;
  LazyMemory& operator=(const LazyMemory&) = delete;
  ~LazyMemory();
  std::span<std::byte> bytes() const { return bytes_; }

 private:
  std::span<std::byte> bytes_;
};

}  // namespace accl
