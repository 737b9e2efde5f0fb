#include "accl/base/ids.h"

int main() {
  const int values[2] = {5, 0};
  const accl::Rank rank{1};
#ifdef WRONG
  return values[rank];
#else
  return values[index(rank)];
#endif
}
