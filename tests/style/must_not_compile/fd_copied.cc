#include <utility>

#include "accl/base/fd.h"

int main() {
  accl::Fd first;
#ifdef WRONG
  const accl::Fd second = first;
#else
  const accl::Fd second = std::move(first);
#endif
  return second ? 1 : 0;
}
