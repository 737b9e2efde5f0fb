#include "accl/base/fd.h"

bool owned(const accl::Fd& fd) { return static_cast<bool>(fd); }

int main() {
#ifdef WRONG
  return owned(-1) ? 1 : 0;
#else
  return owned(accl::Fd(-1)) ? 1 : 0;
#endif
}
