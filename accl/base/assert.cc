#include "accl/base/assert.h"

#include <cstdio>
#include <cstdlib>

namespace accl {

void assertion_failed(const char* condition, const char* file, int line,
                      const std::string& values) {
  std::fprintf(stderr, "accl: %s:%d: this must hold and does not: %s;%s\n", file, line, condition,
               values.c_str());
  std::abort();
}

}  // namespace accl
