#include "accl/base/ids.h"

int main() {
  const accl::Rank rank{1};
#ifdef WRONG
  return rank == 1 ? 0 : 1;
#else
  return rank == accl::Rank{1} ? 0 : 1;
#endif
}
