#include "accl/base/error.h"

#include <system_error>

namespace accl {

void fail_system(const std::string& what, int error) {
  fail(ErrorKind::system, "{}: {}", what, std::generic_category().message(error));
}

}  // namespace accl
