// buffers.h - the memory that a benchmark hands to the library, with guard zones on both sides that
// show who wrote where it should not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace accl::perf {

// Where the memory comes from: malloc's, or accl_alloc's, which peers can map.
enum class BufferKind : std::uint8_t { user, accl };

class GuardedBuffer {
 public:
  // `capacity` bytes that start `shift_bytes` behind a multiple of `align_bytes` (a power of two).
  // Throws Error(system) where there is not that much memory.
  GuardedBuffer(BufferKind kind, std::size_t capacity, std::size_t align_bytes,
                std::size_t shift_bytes);

  // The first `bytes` of it.
  std::span<std::byte> data(std::size_t bytes) const;

  // Makes the zones round the first `bytes` known, and counts the bytes of them that changed since.
  void guard(std::size_t bytes);
  std::uint64_t count_damage(std::size_t bytes) const;

  // What guards are made of, and outputs before they are written.
  static constexpr std::byte poison{0xc5};

 private:
  struct Free {
    BufferKind kind;
    void operator()(std::byte* memory) const;
  };

  std::size_t capacity_;
  std::unique_ptr<std::byte, Free> memory_;
  std::byte* start_ = nullptr;
};

// Bytes that are not poison: for outputs that must stay untouched.
std::uint64_t count_not_poison(std::span<const std::byte> bytes);

}  // namespace accl::perf
