// segment.h - memory that several processes of a host may map: an anonymous file (memfd), so a
// killed process leaves nothing behind in /dev/shm.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "accl/base/fd.h"

namespace accl {

// Maps a whole file and unmaps it again.
class Mapping {
 public:
  Mapping() = default;
  // Throws Error(system) naming `what` and the size.
  Mapping(int file, std::size_t bytes, bool writable, const char* what);
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// A new segment. Behind the usable bytes lies one page that holds a random cookie, by which a peer
// that opens the file by number knows that it is still the same one.
struct Segment {
  Fd file;
  Mapping mapping;
  std::uint64_t cookie = 0;

  std::span<std::byte> bytes() const { return {mapping.data(), mapping.size() - page_bytes}; }

  static constexpr std::size_t page_bytes = 4096;
  // Throws Error(system) that says how much could not be had.
  static Segment create(std::size_t bytes, const char* what);
};

}  // namespace accl
