// heap.h - accl_alloc memory: shared segments that peers of this host may look at, found again by
// address. Any number of communicators and threads use one heap.
#pragma once

#include <atomic>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>

#include "accl/base/memory.h"
#include "transport/shm/segment.h"

namespace accl {

// A block, kept alive by whoever holds it: a call in flight, besides the heap itself.
struct HeapBlock {
  Segment segment;
  Memory memory() const { return {.bytes = segment.bytes(), .file = segment.file.get()}; }
};

class Heap {
 public:
  // Page aligned, zeroed. Throws Error(system) that says how much could not be had.
  void* allocate(std::size_t bytes);

  // Throws Error(invalid_argument) for an address that allocate did not give.
  void free(void* memory);

  // The block that holds all of [memory, memory + bytes); null for other memory.
  std::shared_ptr<const HeapBlock> find(const void* memory, std::size_t bytes) const;

 private:
  std::atomic<std::size_t> count_{0};  // So that programs without such memory pay one load.
  mutable std::mutex mutex_;
  std::map<const std::byte*, std::shared_ptr<const HeapBlock>> blocks_;
};

// The heap of this process: accl_alloc has no communicator to hold one. Never destroyed, so memory
// stays valid while the process exits.
Heap& process_heap();

}  // namespace accl
