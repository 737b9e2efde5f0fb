#include "accl/base/ids.h"

accl::Position seat(accl::Position position) { return position; }

int main() {
#ifdef WRONG
  return index(seat(accl::Rank{0})) == 0 ? 0 : 1;
#else
  return index(seat(accl::Position{0})) == 0 ? 0 : 1;
#endif
}
