#include "accl/base/units.h"

#include <charconv>
#include <cstdlib>

#include "accl/base/error.h"

namespace accl {
namespace {

constexpr std::string_view suffixes = "KMGT";

[[noreturn]] void fail_bytes(std::string_view text, std::string_view what) {
  fail(ErrorKind::invalid_argument, "{}: '{}' is no size; write bytes like 8, 64K, 16M or 1G", what,
       text);
}

}  // namespace

std::uint64_t parse_bytes(std::string_view text, std::string_view what) {
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, problem] = std::from_chars(text.data(), end, value);
  if (problem != std::errc{}) fail_bytes(text, what);
  std::string_view rest(stop, static_cast<std::size_t>(end - stop));
  if (!rest.empty() && (rest.back() == 'B' || rest.back() == 'b')) rest.remove_suffix(1);
  if (rest.empty()) return value;
  const char letter = static_cast<char>(rest[0] & ~0x20);  // Upper case.
  const std::size_t power = suffixes.find(letter);
  if (rest.size() != 1 || power == std::string_view::npos) fail_bytes(text, what);
  const unsigned shift = 10 * (static_cast<unsigned>(power) + 1);
  if (value > (UINT64_MAX >> shift)) fail_bytes(text, what);
  return value << shift;
}

std::string format_bytes(std::uint64_t bytes) {
  std::size_t power = 0;
  while (power < suffixes.size() && bytes != 0 && bytes % 1024 == 0) {
    bytes /= 1024;
    ++power;
  }
  return power == 0 ? fmt::format("{}", bytes) : fmt::format("{}{}", bytes, suffixes[power - 1]);
}

std::int64_t environment_number(const char* name, std::int64_t otherwise, std::int64_t low,
                                std::int64_t high) {
  const std::string text = environment_text(name);
  if (text.empty()) return otherwise;
  std::int64_t value = 0;
  const auto [stop, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = problem == std::errc{} && stop == text.data() + text.size();
  if (!whole || value < low || value > high) {
    fail(ErrorKind::invalid_argument,
         "{}='{}': set it to a whole number from {} to {}, or unset it", name, text, low, high);
  }
  return value;
}

std::string environment_text(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

}  // namespace accl
