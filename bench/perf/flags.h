// flags.h - text of a flag's value -> value, or an Error that names both and the remedy.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace accl::perf {

// A whole number from low to high.
std::int64_t whole_number(std::string_view flag, const std::string& text, std::int64_t low,
                          std::int64_t high);

// The place of `text` among `names`.
std::size_t choice(std::string_view flag, const std::string& text,
                   std::span<const std::string_view> names);

// "ring, hd, tree".
std::string comma_list(std::span<const std::string_view> names);

}  // namespace accl::perf
