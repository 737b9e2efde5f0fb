// assert.h - the one macro of the house. ACCL_ASSERT(condition, values...) states what only a bug
// of ours can break; it stays on in release, prints the condition and the values, and aborts.
#pragma once

#include <fmt/format.h>

#include <string>

namespace accl {

[[noreturn]] void assertion_failed(const char* condition, const char* file, int line,
                                   const std::string& values);

template <class... Values>
std::string describe_values(const Values&... values) {
  std::string text;
  ((text += fmt::format(" {}", values)), ...);
  return text;
}

}  // namespace accl

#define ACCL_ASSERT(condition, ...)                               \
  (__builtin_expect(static_cast<bool>(condition), 1)              \
       ? static_cast<void>(0)                                     \
       : ::accl::assertion_failed(#condition, __FILE__, __LINE__, \
                                  ::accl::describe_values(__VA_ARGS__)))
