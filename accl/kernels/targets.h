// targets.h - the kernels as compiled for each instruction set. kernels.h runs the best; tests and
// benchmarks run each of them.
//
// A family (integers, floats, ...) is compiled once per instruction set and offers a function for
// each, which writes its entries into a KernelSet. Null stands for one that is not compiled on
// this architecture.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "accl/base/types.h"
#include "accl/kernels/kernels.h"

namespace accl::kernels {

// Operations with arithmetic of their own: sum, prod, max, min.
constexpr std::size_t arithmetic_count = 4;

using FloatScale = void (*)(void* target, const void* source, std::size_t count, double factor);
using IntegerScale = void (*)(void* target, const void* source, std::size_t count,
                              std::int64_t factor);
using StreamingCopy = void (*)(void* target, const void* source, std::size_t bytes);

// Everything for one instruction set. Indices are DataType and ReduceOp; in the scale tables only
// the types of that kind are set.
struct KernelSet {
  const char* name = nullptr;
  std::array<std::array<ReduceKernel, arithmetic_count>, data_type_count> reduce{};
  std::array<FloatScale, data_type_count> scale_float{};
  std::array<IntegerScale, data_type_count> scale_integer{};
  StreamingCopy copy = nullptr;

  ReduceKernel& reduction(DataType type, ReduceOp op) {
    return reduce[static_cast<std::size_t>(type)][static_cast<std::size_t>(op)];
  }
  ReduceKernel reduction(DataType type, ReduceOp op) const {
    return reduce[static_cast<std::size_t>(type)][static_cast<std::size_t>(op)];
  }
};

// Best first; never empty. Only what this processor and its system can run.
std::span<const KernelSet> available_kernels();

// The families, from the least instruction set to the best; the order of target_names.
constexpr std::size_t target_count = 4;
using AddKernels = void (*)(KernelSet&);
using Family = std::array<AddKernels, target_count>;

extern const Family integer_family;
extern const Family float_family;
extern const Family half_family;
extern const Family fp8_family;

}  // namespace accl::kernels
