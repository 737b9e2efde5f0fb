// float and double.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "accl/kernels/float_kernels.cc"
#include <hwy/foreach_target.h>
// Highway's order: foreach_target.h first.
#include <hwy/highway.h>

#include "accl/kernels/loop-inl.h"
#include "accl/kernels/math-inl.h"
#include "accl/kernels/targets.h"

HWY_BEFORE_NAMESPACE();
namespace accl::kernels {
namespace HWY_NAMESPACE {

template <class T, class Math>
struct FloatOp {
  using D = hn::ScalableTag<T>;
  using V = hn::Vec<D>;
  using Seen = hn::Mask<D>;
  static constexpr std::size_t element_bytes = sizeof(T);
  static constexpr std::size_t unroll = 4;
  Math math{};

  static HWY_INLINE Seen nothing() { return hn::MaskFromVec(hn::Zero(D())); }
  static HWY_INLINE bool found(Seen seen) { return !hn::AllFalse(D(), seen); }

  template <bool careful>
  HWY_INLINE V apply(V a, V b, Seen& seen) const {
    return math.template apply<careful>(D(), a, b, seen);
  }
};

template <class T>
void scale_float(void* target, const void* source, std::size_t count, double factor) {
  const FloatOp<T, Factor<T>> op{{static_cast<T>(factor)}};
  transform(op, target, source, count, Store::cached);
}

template <class T>
void add_float_kernels(KernelSet& set, DataType type) {
  set.reduction(type, ReduceOp::sum) = reduce<FloatOp<T, Sum>>;
  set.reduction(type, ReduceOp::prod) = reduce<FloatOp<T, Product>>;
  set.reduction(type, ReduceOp::max) = reduce<FloatOp<T, Largest>>;
  set.reduction(type, ReduceOp::min) = reduce<FloatOp<T, Smallest>>;
  set.scale_float[static_cast<std::size_t>(type)] = scale_float<T>;
}

void add_floats(KernelSet& set) {
  add_float_kernels<float>(set, DataType::float32);
  add_float_kernels<double>(set, DataType::float64);
}

}  // namespace HWY_NAMESPACE
}  // namespace accl::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace accl::kernels {

const Family float_family = {&HWY_STATIC_DISPATCH(add_floats), HWY_CHOOSE_SSE4(add_floats),
                             HWY_CHOOSE_AVX2(add_floats), HWY_CHOOSE_AVX3(add_floats)};

}  // namespace accl::kernels
#endif
