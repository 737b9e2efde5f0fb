#include "accl/base/clock.h"

int main() {
#ifdef WRONG
  const accl::Deadline deadline(30000);
#else
  const accl::Deadline deadline(accl::Milliseconds(30000));
#endif
  return deadline.passed() ? 1 : 0;
}
