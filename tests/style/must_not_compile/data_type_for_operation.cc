#include "accl/base/types.h"

bool is_sum(accl::ReduceOp op) { return op == accl::ReduceOp::sum; }

int main() {
#ifdef WRONG
  return is_sum(accl::DataType::int8) ? 0 : 1;
#else
  return is_sum(accl::ReduceOp::sum) ? 0 : 1;
#endif
}
