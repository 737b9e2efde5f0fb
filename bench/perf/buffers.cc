#include "bench/perf/buffers.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "accl/base/assert.h"
#include "accl/base/error.h"
#include "accl/base/units.h"
#include "accl/heap.h"

namespace accl::perf {
namespace {

constexpr std::size_t guard_bytes = 1024;

std::byte* allocate(BufferKind kind, std::size_t bytes, std::size_t align_bytes) {
  if (kind == BufferKind::accl) return static_cast<std::byte*>(process_heap().allocate(bytes));
  void* const memory = std::aligned_alloc(align_bytes, bytes);
  if (memory == nullptr) {
    fail(ErrorKind::system, "no memory for a buffer of {}; lower -e", format_bytes(bytes));
  }
  return static_cast<std::byte*>(memory);
}

std::size_t round_up(std::size_t bytes, std::size_t to) { return (bytes + to - 1) / to * to; }

}  // namespace

void GuardedBuffer::Free::operator()(std::byte* memory) const {
  if (kind == BufferKind::user) std::free(memory);
  if (kind == BufferKind::accl) process_heap().free(memory);
}

GuardedBuffer::GuardedBuffer(BufferKind kind, std::size_t capacity, std::size_t align_bytes,
                             std::size_t shift_bytes)
    : capacity_(capacity), memory_(nullptr, Free{kind}) {
  const std::size_t front = round_up(guard_bytes, align_bytes);
  // accl_alloc's memory is page aligned; a coarser alignment is found inside it.
  const std::size_t slack = kind == BufferKind::accl ? align_bytes : 0;
  const std::size_t whole =
      round_up(front + shift_bytes + capacity + guard_bytes + slack, align_bytes);
  memory_.reset(allocate(kind, whole, align_bytes));
  // Pages are made here and not in the first timed call.
  std::memset(memory_.get(), static_cast<int>(poison), whole);
  const auto address = reinterpret_cast<std::uintptr_t>(memory_.get());
  start_ = memory_.get() + (round_up(address, align_bytes) - address) + front + shift_bytes;
}

std::span<std::byte> GuardedBuffer::data(std::size_t bytes) const {
  ACCL_ASSERT(bytes <= capacity_, bytes, capacity_);
  return {start_, bytes};
}

void GuardedBuffer::guard(std::size_t bytes) {
  ACCL_ASSERT(bytes <= capacity_, bytes, capacity_);
  std::fill_n(start_ - guard_bytes, guard_bytes, poison);
  std::fill_n(start_ + bytes, guard_bytes, poison);
}

std::uint64_t GuardedBuffer::count_damage(std::size_t bytes) const {
  return count_not_poison({start_ - guard_bytes, guard_bytes}) +
         count_not_poison({start_ + bytes, guard_bytes});
}

std::uint64_t count_not_poison(std::span<const std::byte> bytes) {
  return bytes.size() - static_cast<std::size_t>(std::ranges::count(bytes, GuardedBuffer::poison));
}

}  // namespace accl::perf
