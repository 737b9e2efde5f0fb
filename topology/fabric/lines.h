// lines.h - files that hold one thing a line; '#' starts a comment, what is empty is skipped.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace accl::topology {

constexpr std::size_t max_list_bytes = 16 << 20;

// Calls visit(line number from 1, the line without comment and blanks at its ends).
void for_each_line(std::string_view text, const std::function<void(int, std::string_view)>& visit);

// A word of the file as people can read it: not too long, and '?' for what cannot be printed.
std::string printable(std::string_view word);

}  // namespace accl::topology
