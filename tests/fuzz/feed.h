// feed.h - what every target does with what libFuzzer invents: reads it as text; an Error, whose
// words are for people, is a good end, and anything else is not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "accl/base/error.h"

namespace accl::fuzz {

template <class Read>
int feed(const std::uint8_t* data, std::size_t size, const Read& read) {
  try {
    read(std::string_view(reinterpret_cast<const char*>(data), size));
  } catch (const Error&) {
    return 0;
  }
  return 0;
}

}  // namespace accl::fuzz
