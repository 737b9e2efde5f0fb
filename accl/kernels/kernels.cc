// Chooses among the instruction sets the kernels were compiled for, and does what needs none.
#include "accl/kernels/kernels.h"

#include <array>
#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

#include "accl/base/assert.h"
#include "accl/kernels/targets.h"

namespace accl {
namespace kernels {
namespace {

constexpr std::array<const char*, target_count> target_names{"generic", "SSE4", "AVX2", "AVX-512"};

// What Highway lets the compiler use for each (hwy/ops/set_macros-inl.h). Highway's own detection
// is in a shared object that a machine need not have.
std::array<bool, target_count> supported_targets() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool sse4 = __builtin_cpu_supports("ssse3") && __builtin_cpu_supports("sse4.1") &&
                    __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul") &&
                    __builtin_cpu_supports("aes");
  const bool avx2 = sse4 && __builtin_cpu_supports("avx") && __builtin_cpu_supports("avx2") &&
                    __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
                    __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512bw");
  return {true, sse4, avx2, avx512};
#else
  return {true, false, false, false};
#endif
}

std::vector<KernelSet> collect_kernels() {
  const auto supported = supported_targets();
  std::vector<KernelSet> sets;
  for (std::size_t target = target_count; target-- > 0;) {
    if (!supported[target] || integer_family[target] == nullptr) continue;
    KernelSet& set = sets.emplace_back();
    set.name = target_names[target];
    for (const Family* family : {&integer_family, &float_family, &half_family, &fp8_family}) {
      (*family)[target](set);
    }
  }
  return sets;
}

const KernelSet& best() {
  static const KernelSet& first = available_kernels().front();
  return first;
}

bool is_floating(DataType type) {
  return best().scale_float[static_cast<std::size_t>(type)] != nullptr;
}

// Divides by way of Wide, in which quotients of these types are exact enough to truncate, or with
// Wide an integer type by the processor's slow division.
template <class T, class Wide>
void divide_elements(void* target, const void* source, std::size_t count, std::uint32_t ranks) {
  auto* to = static_cast<std::byte*>(target);
  const auto* from = static_cast<const std::byte*>(source);
  for (std::size_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, from + i * sizeof(T), sizeof(T));
    value = static_cast<T>(static_cast<Wide>(value) / static_cast<Wide>(ranks));
    std::memcpy(to + i * sizeof(T), &value, sizeof(T));
  }
}

}  // namespace

std::span<const KernelSet> available_kernels() {
  static const std::vector<KernelSet> sets = collect_kernels();
  return sets;
}

}  // namespace kernels

ReduceKernel reduce_kernel(DataType type, ReduceOp op) {
  const bool sums = op == ReduceOp::avg || op == ReduceOp::premul_sum;
  return kernels::best().reduction(type, sums ? ReduceOp::sum : op);
}

void scale(void* target, const void* source, std::size_t count, DataType type, double factor) {
  ACCL_ASSERT(kernels::is_floating(type), name_of(type));
  kernels::best().scale_float[static_cast<std::size_t>(type)](target, source, count, factor);
}

void scale(void* target, const void* source, std::size_t count, DataType type,
           std::int64_t factor) {
  ACCL_ASSERT(!kernels::is_floating(type), name_of(type));
  kernels::best().scale_integer[static_cast<std::size_t>(type)](target, source, count, factor);
}

void divide(void* target, const void* source, std::size_t count, DataType type,
            std::uint32_t ranks) {
  using kernels::divide_elements;
  ACCL_ASSERT(ranks > 0 && !kernels::is_floating(type), ranks, name_of(type));
  switch (type) {
    // A double has bits to spare: a quotient of 32-bit numbers that is no integer is further from
    // the next one than the rounding error.
    case DataType::int8:
      return divide_elements<std::int8_t, double>(target, source, count, ranks);
    case DataType::uint8:
      return divide_elements<std::uint8_t, double>(target, source, count, ranks);
    case DataType::int32:
      return divide_elements<std::int32_t, double>(target, source, count, ranks);
    case DataType::uint32:
      return divide_elements<std::uint32_t, double>(target, source, count, ranks);
    case DataType::int64:
      return divide_elements<std::int64_t, std::int64_t>(target, source, count, ranks);
    default:
      return divide_elements<std::uint64_t, std::uint64_t>(target, source, count, ranks);
  }
}

void copy_bytes(void* target, const void* source, std::size_t bytes, Store store) {
  if (store == Store::stream) {
    kernels::best().copy(target, source, bytes);
  } else if (bytes > 0) {
    std::memcpy(target, source, bytes);
  }
}

const char* kernel_target() { return kernels::best().name; }

}  // namespace accl
