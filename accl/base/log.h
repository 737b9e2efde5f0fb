// log.h - lines for the person who runs the job: "accl[rank 3] warning: text". Levels by
// ACCL_DEBUG=error|warning|info|trace (default warning); ACCL_DEBUG_FILE sends them to a file
// (%h host, %p pid). Callers of a function that logged a cause stay silent.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <utility>

namespace accl {

enum class LogLevel : std::uint8_t { error, warning, info, trace };

bool log_enabled(LogLevel level);
void write_log(LogLevel level, const std::string& text);

// Whose lines these are, for example "rank 3"; set once the rank is known.
void set_log_name(const std::string& name);

template <class... Values>
void log(LogLevel level, fmt::format_string<Values...> format, Values&&... values) {
  if (log_enabled(level)) write_log(level, fmt::format(format, std::forward<Values>(values)...));
}

}  // namespace accl
