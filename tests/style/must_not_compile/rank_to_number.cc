#include <cstddef>

#include "accl/base/ids.h"

int main() {
  const accl::Rank rank{1};
#ifdef WRONG
  const std::size_t number = rank;
#else
  const std::size_t number = index(rank);
#endif
  return number == 1 ? 0 : 1;
}
