#include "accl/base/ids.h"

accl::Rank next(accl::Rank rank) { return accl::Rank{index(rank) + 1}; }

int main() {
#ifdef WRONG
  return index(next(3)) == 4 ? 0 : 1;
#else
  return index(next(accl::Rank{3})) == 4 ? 0 : 1;
#endif
}
