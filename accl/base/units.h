// units.h - numbers as people write them: sizes with binary suffixes, whole environment variables.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace accl {

// "8", "4K", "128M", "1G" (binary, either case, an optional trailing B). Throws invalid_argument
// that names `what` for anything else, a negative number and overflow among it.
std::uint64_t parse_bytes(std::string_view text, std::string_view what);

// "262144" -> "256K", "12" -> "12": the shortest exact binary form.
std::string format_bytes(std::uint64_t bytes);

// The whole-number value of an environment variable, or `otherwise` where it is unset or empty.
// Throws invalid_argument naming the variable if it is no number within [low, high].
std::int64_t environment_number(const char* name, std::int64_t otherwise, std::int64_t low,
                                std::int64_t high);

// The variable's text; empty where it is unset.
std::string environment_text(const char* name);

}  // namespace accl
