// ids.h - numbers that must not be mixed up, as types of their own. A Rank never converts to a
// Position; code that needs the number itself asks for index(id).
#pragma once

#include <cstdint>

namespace accl {

enum class Rank : std::uint32_t {};      // A process of a communicator, 0..size-1.
enum class Position : std::uint32_t {};  // A seat in a plan; an order says which rank sits there.

template <class Id>
constexpr std::uint32_t index(Id id) {
  return static_cast<std::uint32_t>(id);
}

}  // namespace accl
