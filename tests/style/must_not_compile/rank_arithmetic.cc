#include "accl/base/ids.h"

int main() {
  accl::Rank rank{1};
#ifdef WRONG
  ++rank;
#else
  rank = accl::Rank{index(rank) + 1};
#endif
  return index(rank) == 2 ? 0 : 1;
}
