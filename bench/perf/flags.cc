#include "bench/perf/flags.h"

#include <algorithm>
#include <charconv>

#include "accl/base/error.h"

namespace accl::perf {

std::int64_t whole_number(std::string_view flag, const std::string& text, std::int64_t low,
                          std::int64_t high) {
  std::int64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, problem] = std::from_chars(text.data(), end, value);
  if (problem != std::errc{} || stop != end || value < low || value > high) {
    fail(ErrorKind::invalid_argument, "{} {}: give a whole number from {} to {}", flag, text, low,
         high);
  }
  return value;
}

std::size_t choice(std::string_view flag, const std::string& text,
                   std::span<const std::string_view> names) {
  const auto at = std::ranges::find(names, text);
  if (at == names.end()) {
    fail(ErrorKind::invalid_argument, "{} {}: choose one of {}", flag, text, comma_list(names));
  }
  return static_cast<std::size_t>(at - names.begin());
}

std::string comma_list(std::span<const std::string_view> names) {
  std::string text;
  for (const std::string_view name : names) {
    if (!text.empty()) text += ", ";
    text += name;
  }
  return text;
}

}  // namespace accl::perf
