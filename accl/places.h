// places.h - where the chunks of one slice lie: user buffers by their layout, scratch chunks one
// largest piece apart.
#pragma once

#include <cstddef>
#include <cstdint>

#include "accl/binding.h"

namespace accl {

class Places {
 public:
  Places(const Binding& binding, std::uint32_t slice, const std::byte* scratch)
      : binding_(binding),
        slice_(slice),
        element_bytes_(size_of(binding.type)),
        scratch_(const_cast<std::byte*>(scratch)) {}

  std::byte* address(Buffer buffer, std::uint32_t chunk) const {
    if (buffer == Buffer::scratch) {
      const std::size_t place = binding_.program->scratch_place[chunk];
      return scratch_ + place * binding_.output_layout.largest_piece() * element_bytes_;
    }
    const UserBuffer& user = buffer == Buffer::input ? binding_.input : binding_.output;
    return user.base + layout(buffer).piece(chunk, slice_).begin * element_bytes_;
  }

  // Bytes of one chunk's piece. Scratch chunk c is as large as chunk c modulo the chunks.
  std::size_t chunk_bytes(Buffer buffer, std::uint32_t chunk) const {
    const bool is_scratch = buffer == Buffer::scratch;
    const std::uint32_t like = is_scratch ? chunk % binding_.program->chunks : chunk;
    return layout(buffer).piece(like, slice_).count * element_bytes_;
  }

  bool is_contiguous(const Slice& slice) const {
    return slice.count == 1 || (slice.buffer != Buffer::scratch && layout(slice.buffer).is_whole());
  }

  std::uint32_t bytes(const Slice& slice) const {
    if (slice.count > 1 && is_contiguous(slice)) {
      const Range first = layout(slice.buffer).piece(slice.chunk, slice_);
      const Range last = layout(slice.buffer).piece(slice.chunk + slice.count - 1, slice_);
      return static_cast<std::uint32_t>((last.begin + last.count - first.begin) * element_bytes_);
    }
    std::size_t sum = 0;
    for (std::uint32_t i = 0; i < slice.count; ++i) {
      sum += chunk_bytes(slice.buffer, slice.chunk + i);
    }
    return static_cast<std::uint32_t>(sum);
  }

  // Calls visit(address, bytes) for runs of memory that make up the slice, in order.
  template <class Visit>
  void for_each_piece(const Slice& slice, Visit&& visit) const {
    const bool in_one = is_contiguous(slice);
    const std::uint32_t count = in_one ? 1 : slice.count;
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::size_t size = in_one ? bytes(slice) : chunk_bytes(slice.buffer, slice.chunk + i);
      if (size != 0) visit(address(slice.buffer, slice.chunk + i), size);
    }
  }

 private:
  const Layout& layout(Buffer buffer) const {
    return buffer == Buffer::input ? binding_.input_layout : binding_.output_layout;
  }

  const Binding& binding_;
  std::uint32_t slice_;
  std::size_t element_bytes_;
  std::byte* scratch_;
};

}  // namespace accl
