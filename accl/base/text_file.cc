#include "accl/base/text_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "accl/base/error.h"
#include "accl/base/fd.h"

namespace accl {
namespace {

constexpr std::size_t block_bytes = 64 << 10;

[[noreturn]] void fail_file(const std::string& path, std::string_view what, int error) {
  fail(ErrorKind::system, "{}: cannot be {} ({})", path, what,
       std::generic_category().message(error));
}

void write_all(int file, const std::string& path, std::string_view text) {
  while (!text.empty()) {
    const ssize_t done = ::write(file, text.data(), text.size());
    if (done < 0 && errno != EINTR) fail_file(path, "written", errno);
    if (done > 0) text.remove_prefix(static_cast<std::size_t>(done));
  }
}

}  // namespace

std::string read_text(const std::string& path, std::size_t max_bytes) {
  const bool is_stdin = path == "-";
  const Fd file(is_stdin ? ::dup(STDIN_FILENO) : ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) fail_file(path, "read", errno);
  std::string text;
  for (;;) {
    const std::size_t have = text.size();
    text.resize(have + block_bytes);
    const ssize_t came = ::read(file.get(), text.data() + have, block_bytes);
    const int error = errno;
    text.resize(have + static_cast<std::size_t>(std::max<ssize_t>(came, 0)));
    if (came < 0 && error != EINTR) fail_file(path, "read", error);
    if (came == 0) return text;
    if (text.size() > max_bytes) {
      fail(ErrorKind::invalid_argument, "{}: holds more than {} MiB; is it the right file?", path,
           max_bytes >> 20);
    }
  }
}

void write_text(const std::string& path, std::string_view text) {
  const std::string beside = fmt::format("{}.{}.new", path, ::getpid());
  try {
    const Fd file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (!file) fail_file(path, "written", errno);
    write_all(file.get(), path, text);
    if (std::rename(beside.c_str(), path.c_str()) != 0) fail_file(path, "written", errno);
  } catch (...) {
    ::unlink(beside.c_str());
    throw;
  }
}

}  // namespace accl
