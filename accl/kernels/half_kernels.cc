// fp16 and bf16.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "accl/kernels/half_kernels.cc"
#include <hwy/foreach_target.h>
// Highway's order: foreach_target.h first.
#include <hwy/highway.h>

#include <cstdint>

#include "accl/kernels/half-inl.h"
#include "accl/kernels/loop-inl.h"
#include "accl/kernels/math-inl.h"
#include "accl/kernels/targets.h"

HWY_BEFORE_NAMESPACE();
namespace accl::kernels {
namespace HWY_NAMESPACE {

using DF = hn::ScalableTag<float>;

struct NanChecked {
  using Seen = hn::Mask<DF>;
  static HWY_INLINE Seen nothing() { return hn::MaskFromVec(hn::Zero(DF())); }
  static HWY_INLINE bool found(Seen seen) { return !hn::AllFalse(DF(), seen); }
};

// Half a vector of fp16 at a time, so that loads and stores convert.
template <class Math>
struct HalfOp : NanChecked {
  using D = hn::Rebind<std::uint16_t, DF>;
  using V = hn::Vec<D>;
  static constexpr std::size_t element_bytes = 2;
  static constexpr std::size_t unroll = 4;
  Math math{};

  template <bool careful>
  HWY_INLINE V apply(V a, V b, Seen& seen) const {
    const DF df;
    const auto result =
        math.template apply<careful>(df, float_from_half(df, a), float_from_half(df, b), seen);
    return half_from_float(df, result);
  }
};

// bf16 is the upper half of a float. Two in a 32-bit lane: no shuffles.
template <class Math>
struct BrainOp : NanChecked {
  using D = hn::ScalableTag<std::uint32_t>;
  using V = hn::Vec<D>;
  static constexpr std::size_t element_bytes = 2;
  static constexpr std::size_t unroll = 2;
  Math math{};

  // To nearest even, in the upper half; the lower half is not cleared. A quiet NaN stays one.
  static HWY_INLINE V round(hn::Vec<DF> value) {
    const D d;
    const V bits = hn::BitCast(d, value);
    const V is_odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(d, 1));
    return hn::Add(hn::Add(bits, hn::Set(d, 0x7FFF)), is_odd);
  }

  template <bool careful>
  HWY_INLINE V apply(V a, V b, Seen& seen) const {
    const D d;
    const DF df;
    const V upper = hn::Set(d, 0xFFFF0000u);
    const auto even = math.template apply<careful>(df, hn::BitCast(df, hn::ShiftLeft<16>(a)),
                                                   hn::BitCast(df, hn::ShiftLeft<16>(b)), seen);
    const auto odd = math.template apply<careful>(df, hn::BitCast(df, hn::And(a, upper)),
                                                  hn::BitCast(df, hn::And(b, upper)), seen);
    return hn::Or(hn::ShiftRight<16>(round(even)), hn::And(round(odd), upper));
  }
};

template <template <class> class Op>
void scale_half(void* target, const void* source, std::size_t count, double factor) {
  Op<Factor<float>> op;
  op.math.factor = static_cast<float>(factor);
  transform(op, target, source, count, Store::cached);
}

template <template <class> class Op, Shape<std::int16_t> shape>
void add_half_kernels(KernelSet& set, DataType type) {
  set.reduction(type, ReduceOp::sum) = reduce<Op<Sum>>;
  set.reduction(type, ReduceOp::prod) = reduce<Op<Product>>;
  set.reduction(type, ReduceOp::max) = reduce<ExtremeOp<std::int16_t, shape, true>>;
  set.reduction(type, ReduceOp::min) = reduce<ExtremeOp<std::int16_t, shape, false>>;
  set.scale_float[static_cast<std::size_t>(type)] = scale_half<Op>;
}

void add_halves(KernelSet& set) {
  constexpr Shape<std::int16_t> half{0x7C00, 0x7C00, 0x7E00};
  constexpr Shape<std::int16_t> brain{0x7F80, 0x7F80, 0x7FC0};
  add_half_kernels<HalfOp, half>(set, DataType::float16);
  add_half_kernels<BrainOp, brain>(set, DataType::bfloat16);
}

}  // namespace HWY_NAMESPACE
}  // namespace accl::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace accl::kernels {

const Family half_family = {&HWY_STATIC_DISPATCH(add_halves), HWY_CHOOSE_SSE4(add_halves),
                            HWY_CHOOSE_AVX2(add_halves), HWY_CHOOSE_AVX3(add_halves)};

}  // namespace accl::kernels
#endif
