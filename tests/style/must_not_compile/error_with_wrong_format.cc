#include "accl/base/error.h"

int main() {
#ifdef WRONG
  accl::fail(accl::ErrorKind::system, "{} of {}", 1);
#else
  accl::fail(accl::ErrorKind::system, "{} of {}", 1, 2);
#endif
}
