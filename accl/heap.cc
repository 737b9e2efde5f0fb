#include "accl/heap.h"

#include <algorithm>

#include "accl/base/error.h"

namespace accl {

void* Heap::allocate(std::size_t bytes) {
  auto block = std::make_shared<HeapBlock>();
  block->segment = Segment::create(std::max<std::size_t>(bytes, 1), "accl_alloc");
  std::byte* const at = block->segment.bytes().data();
  const std::lock_guard lock(mutex_);
  blocks_.emplace(at, std::move(block));
  count_.store(blocks_.size(), std::memory_order_relaxed);
  return at;
}

void Heap::free(void* memory) {
  const std::lock_guard lock(mutex_);
  if (blocks_.erase(static_cast<const std::byte*>(memory)) == 0) {
    fail(ErrorKind::invalid_argument,
         "accl_free: {} did not come from accl_alloc, or was freed before", memory);
  }
  count_.store(blocks_.size(), std::memory_order_relaxed);
}

std::shared_ptr<const HeapBlock> Heap::find(const void* memory, std::size_t bytes) const {
  if (count_.load(std::memory_order_relaxed) == 0 || memory == nullptr) return nullptr;
  const auto* const at = static_cast<const std::byte*>(memory);
  const std::lock_guard lock(mutex_);
  auto next = blocks_.upper_bound(at);
  if (next == blocks_.begin()) return nullptr;
  const auto& [start, block] = *--next;
  const auto size = block->segment.bytes().size();
  const auto offset = static_cast<std::size_t>(at - start);
  return offset <= size && bytes <= size - offset ? block : nullptr;
}

Heap& process_heap() {
  static Heap* const heap = new Heap;
  return *heap;
}

}  // namespace accl
