#include "accl/base/ids.h"

int main() {
  const accl::Rank rank{1};
#ifdef WRONG
  return rank == accl::Position{1} ? 0 : 1;
#else
  return index(rank) == index(accl::Position{1}) ? 0 : 1;
#endif
}
