#include "transport/shm/segment.h"

#include <sys/mman.h>
#include <sys/random.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "accl/base/error.h"

namespace accl {

Mapping::Mapping(int file, std::size_t bytes, bool writable, const char* what) : size_(bytes) {
  const int protection = PROT_READ | (writable ? PROT_WRITE : 0);
  void* const at = ::mmap(nullptr, bytes, protection, MAP_SHARED, file, 0);
  if (at == MAP_FAILED) fail_system(fmt::format("mapping {} bytes of {}", bytes, what), errno);
  data_ = static_cast<std::byte*>(at);
}

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

Mapping::~Mapping() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

Segment Segment::create(std::size_t bytes, const char* what) {
  const std::size_t whole = (bytes + page_bytes - 1) / page_bytes * page_bytes + page_bytes;
  Segment segment;
  segment.file.reset(::memfd_create("accl", MFD_CLOEXEC));
  if (!segment.file) fail_system(fmt::format("shared memory for {}", what), errno);
  if (::ftruncate(segment.file.get(), static_cast<off_t>(whole)) != 0) {
    fail_system(fmt::format("{} bytes of shared memory for {}", whole, what), errno);
  }
  segment.mapping = Mapping(segment.file.get(), whole, true, what);
  if (::getrandom(&segment.cookie, sizeof segment.cookie, 0) != sizeof segment.cookie) {
    fail_system("random bytes for shared memory", errno);
  }
  std::memcpy(segment.mapping.data() + whole - page_bytes, &segment.cookie, sizeof segment.cookie);
  return segment;
}

}  // namespace accl
