// error.h - failures a caller can act on. The text is made where the cause is seen: it names the
// thing that is wrong and says what to do. Bugs of ours are ACCL_ASSERT, not Errors.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

namespace accl {

// The same numbers as accl_result_t in accl.h.
enum class ErrorKind : std::uint8_t {
  invalid_argument = 1,  // The caller passed something that cannot be; nothing was started.
  invalid_usage = 2,     // Right values at the wrong time, or ranks that disagree.
  system = 3,            // A file, socket, device or limit of this machine.
  remote = 4,            // Another rank died, was stopped, or broke its connection.
  timeout = 5,           // Nobody is known to be dead and still nothing came in time.
  aborted = 6,           // A rank (maybe this one) called abort.
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& text) : std::runtime_error(text), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

// Throws an Error of this kind with a formatted text.
template <class... Values>
[[noreturn]] void fail(ErrorKind kind, fmt::format_string<Values...> format, Values&&... values) {
  throw Error(kind, fmt::format(format, std::forward<Values>(values)...));
}

// Throws ErrorKind::system: "<what>: <the system's words for `error`>".
[[noreturn]] void fail_system(const std::string& what, int error);

}  // namespace accl
