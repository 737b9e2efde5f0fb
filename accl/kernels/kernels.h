// kernels.h - the arithmetic: element-wise reductions over host memory for every data type, at the
// speed of memory. One binary runs the best instruction set of the machine (Highway).
//
// Promises:
//   1. target may be the same memory as any source; otherwise no overlap. Any alignment, any count.
//   2. reduce(x, y) and reduce(y, x) give the same bits: for max and min, -0 is less than +0, and
//      a NaN on either side gives the quiet NaN of the type.
//   3. Half types (fp16, bf16, fp8) compute in float and round once, to nearest even. fp8 results
//      beyond the largest finite number saturate to it, as NCCL's do; fp16 and bf16 become
//      infinite.
//   4. Integers wrap (two's complement).
//   5. Results do not depend on the instruction set, the alignment, or where a call is cut.
#pragma once

#include <cstddef>
#include <cstdint>

#include "accl/base/types.h"

namespace accl {

// How results are stored: `stream` goes round the cache, for targets much larger than it that are
// not read again soon.
enum class Store : std::uint8_t { cached, stream };

// target[i] = a[i] op b[i] for `count` elements.
using ReduceKernel = void (*)(void* target, const void* a, const void* b, std::size_t count,
                              Store store);

// avg and premul_sum reduce as sum does; their scaling is scale() and divide().
ReduceKernel reduce_kernel(DataType type, ReduceOp op);

// target[i] = source[i] * factor, computed in the wider of float and the type (double for double),
// rounded once. Floating types only.
void scale(void* target, const void* source, std::size_t count, DataType type, double factor);

// The same for integers: target[i] = source[i] * factor, wrapping.
void scale(void* target, const void* source, std::size_t count, DataType type, std::int64_t factor);

// Integer average: target[i] = source[i] / ranks, truncated towards zero.
void divide(void* target, const void* source, std::size_t count, DataType type,
            std::uint32_t ranks);

void copy_bytes(void* target, const void* source, std::size_t bytes, Store store);

// The instruction set in use, for --version and benchmarks: "AVX2".
const char* kernel_target();

}  // namespace accl
