// text_file.h - whole files of text, in and out. Both throw Error(system) that names the file and
// what the system says of it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace accl {

// Throws Error(invalid_argument) for a file of more than `max_bytes`: inputs are small, and what
// is not small is not what it claims to be. "-" is standard input.
std::string read_text(const std::string& path, std::size_t max_bytes = 64 << 20);

// All or nothing: what was there stays until the new text is complete on disk beside it.
void write_text(const std::string& path, std::string_view text);

}  // namespace accl
