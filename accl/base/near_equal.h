// near_equal.h - how a length is cut into parts as equal as they can be: the first (length % parts)
// are one longer. Chunks of plans are cut so, where they move and where they are only counted.
#pragma once

#include <cstddef>
#include <cstdint>

namespace accl {

// Elements [begin, begin + count) of a buffer.
struct Range {
  std::size_t begin = 0;
  std::size_t count = 0;
};

// Part `i` of `parts`, which is at least 1.
constexpr Range near_equal(std::size_t length, std::uint32_t parts, std::uint32_t i) {
  if (parts == 1) return {0, length};
  const std::size_t each = length / parts;
  const std::size_t longer = length % parts;
  return {i * each + (i < longer ? i : longer), each + (i < longer ? 1 : 0)};
}

}  // namespace accl
