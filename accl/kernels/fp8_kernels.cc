// fp8: e4m3 (no infinity, NaN is 0x7F and 0xFF) and e5m2 (as IEEE 754 would have it).
//
// Both pass through fp16, for which processors have conversions to and from float. e5m2 is the
// upper byte of an fp16. e4m3 with its exponent field put into that of an fp16 is an fp16 of 1/256
// of its value, subnormals included; the arithmetic allows for that. Rounding a sum or product of
// two fp8 first to float, then to fp16 and then to fp8 gives what rounding it once does (the tests
// try all pairs); after scale(), whose factor is any float, it does not, so that rounds to the
// places of fp8 while still in float.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "accl/kernels/fp8_kernels.cc"
#include <hwy/foreach_target.h>
// Highway's order: foreach_target.h first.
#include <hwy/highway.h>

#include <cstdint>
#include <type_traits>

#include "accl/kernels/half-inl.h"
#include "accl/kernels/loop-inl.h"
#include "accl/kernels/targets.h"

HWY_BEFORE_NAMESPACE();
namespace accl::kernels {
namespace HWY_NAMESPACE {

using DF = hn::ScalableTag<float>;
// As fp16 bits, or an fp8 in the upper byte.
using D16 = hn::ScalableTag<std::uint16_t>;
using V16 = hn::Vec<D16>;

struct E4m3 {
  static constexpr std::uint16_t quiet_nan = 0x7F00;     // In the upper byte.
  static constexpr std::uint16_t largest_half = 0x3F00;  // 448/256 as fp16.
  static constexpr float largest_float = 448.0F / 256;
  static constexpr float product_scale = 256;
  static constexpr int mantissa_bits = 3;
  static constexpr Shape<std::int8_t> shape{0x7E, 0x7E, 0x7F};

  static HWY_INLINE V16 half_of(V16 upper) {
    const hn::RebindToSigned<D16> d;
    const auto shifted = hn::ShiftRight<1>(hn::BitCast(d, upper));
    return hn::And(hn::BitCast(D16(), shifted), hn::Set(D16(), 0xBF80));
  }
};

struct E5m2 {
  static constexpr std::uint16_t quiet_nan = 0x7E00;
  static constexpr std::uint16_t largest_half = 0x7B00;
  static constexpr float largest_float = 57344;
  static constexpr float product_scale = 1;
  static constexpr int mantissa_bits = 2;
  static constexpr Shape<std::int8_t> shape{0x7C, 0x7B, 0x7E};

  static HWY_INLINE V16 half_of(V16 upper) { return upper; }
};

// fp16 to fp8 in the upper byte, to nearest even; whatever lies beyond the largest becomes it.
template <class Format>
HWY_INLINE V16 round_half(V16 half) {
  const D16 d;
  constexpr int dropped = 10 - Format::mantissa_bits;
  const V16 magnitude = hn::And(half, hn::Set(d, 0x7FFF));
  const V16 limited = hn::Min(magnitude, hn::Set(d, Format::largest_half));
  const V16 is_odd = hn::And(hn::ShiftRight<dropped>(limited), hn::Set(d, 1));
  const V16 below_half = hn::Set(d, (1 << (dropped - 1)) - 1);
  const V16 rounded = hn::Add(hn::Add(limited, below_half), is_odd);
  const V16 code = hn::And(hn::ShiftLeft<8 - dropped>(rounded), hn::Set(d, 0x7F00));
  return hn::Or(code, hn::Xor(half, magnitude));
}

HWY_INLINE hn::Mask<D16> half_is_nan(V16 half) {
  const hn::RebindToSigned<D16> d;
  const auto magnitude = hn::And(hn::BitCast(d, half), hn::Set(d, 0x7FFF));
  return hn::RebindMask(D16(), hn::Gt(magnitude, hn::Set(d, 0x7C00)));
}

struct Fp8Sum {
  static constexpr bool binary = true;
  template <class Format>
  HWY_INLINE hn::Vec<DF> apply(hn::Vec<DF> a, hn::Vec<DF> b) const {
    return hn::Add(a, b);
  }
};

struct Fp8Product {
  static constexpr bool binary = true;
  template <class Format>
  HWY_INLINE hn::Vec<DF> apply(hn::Vec<DF> a, hn::Vec<DF> b) const {
    if constexpr (Format::product_scale != 1) {
      a = hn::Mul(a, hn::Set(DF(), Format::product_scale));
    }
    return hn::Mul(a, b);
  }
};

// Adding a number of 1.5 * 2^(23 - mantissa_bits) times the power of two at or below |value|
// leaves just the bits that fp8 keeps, rounded to nearest even.
struct Fp8Factor {
  static constexpr bool binary = false;
  float factor;

  template <class Format>
  HWY_INLINE hn::Vec<DF> apply(hn::Vec<DF> a, hn::Vec<DF>) const {
    const DF df;
    const hn::RebindToSigned<DF> di;
    const auto product = hn::Mul(a, hn::Set(df, factor));
    const auto limited = hn::Min(hn::Abs(product), hn::Set(df, Format::largest_float));
    const auto exponent = hn::And(hn::BitCast(di, limited), hn::Set(di, 0x7F800000));
    const auto least_normal = hn::Set(di, (127 - 14) << 23);
    const auto places = hn::Set(di, ((23 - Format::mantissa_bits) << 23) | (1 << 22));
    const auto point = hn::BitCast(df, hn::Add(hn::Max(exponent, least_normal), places));
    const auto rounded = hn::CopySign(hn::Sub(hn::Add(limited, point), point), product);
    return hn::IfThenElse(hn::IsNaN(product), product, rounded);
  }
};

template <class Format, class Math>
HWY_INLINE V16 compute_halves(const Math& math, V16 a, V16 b) {
  const DF df;
#if HWY_TARGET == HWY_SCALAR
  return half_from_float(
      df, math.template apply<Format>(float_from_half(df, a), float_from_half(df, b)));
#else
  const hn::Half<D16> half;
  const auto low = math.template apply<Format>(float_from_half(df, hn::LowerHalf(half, a)),
                                               float_from_half(df, hn::LowerHalf(half, b)));
  const auto high = math.template apply<Format>(float_from_half(df, hn::UpperHalf(half, a)),
                                                float_from_half(df, hn::UpperHalf(half, b)));
  return hn::Combine(D16(), half_from_float(df, high), half_from_float(df, low));
#endif
}

// Two fp8 in a 16-bit lane.
template <class Format, class Math>
struct Fp8Op : Unchecked {
  using D = D16;
  static constexpr std::size_t element_bytes = 1;
  static constexpr std::size_t unroll = 1;
  Math math{};

  // a and b in the upper bytes of lanes, the lower bytes zero.
  HWY_INLINE V16 compute(V16 a, V16 b) const {
    const D16 d;
    const V16 half = compute_halves<Format>(math, Format::half_of(a), Format::half_of(b));
    const V16 code = round_half<Format>(half);
    const V16 nan = hn::Set(d, Format::quiet_nan);
    if constexpr (std::is_same_v<Format, E5m2>) {
      return hn::IfThenElse(half_is_nan(half), nan, code);
    } else {
      // Its NaN converts to a number, so it is found among the inputs.
      const V16 magnitude = hn::Set(d, 0x7F00);
      const V16 greater = hn::Max(hn::And(a, magnitude), hn::And(b, magnitude));
      auto is_nan = hn::Eq(greater, nan);
      if constexpr (!Math::binary) is_nan = hn::Or(is_nan, half_is_nan(half));
      return hn::IfThenElse(is_nan, nan, code);
    }
  }

  template <bool careful>
  HWY_INLINE V16 apply(V16 a, V16 b, Unchecked::Seen&) const {
    const V16 upper = hn::Set(D16(), 0xFF00);
    const V16 even = compute(hn::ShiftLeft<8>(a), hn::ShiftLeft<8>(b));
    const V16 odd = compute(hn::And(a, upper), hn::And(b, upper));
    return hn::Or(hn::ShiftRight<8>(even), odd);
  }
};

template <class Format>
void scale_fp8(void* target, const void* source, std::size_t count, double factor) {
  const Fp8Op<Format, Fp8Factor> op{{}, {static_cast<float>(factor)}};
  transform(op, target, source, count, Store::cached);
}

template <class Format>
void add_fp8_kernels(KernelSet& set, DataType type) {
  set.reduction(type, ReduceOp::sum) = reduce<Fp8Op<Format, Fp8Sum>>;
  set.reduction(type, ReduceOp::prod) = reduce<Fp8Op<Format, Fp8Product>>;
  set.reduction(type, ReduceOp::max) = reduce<ExtremeOp<std::int8_t, Format::shape, true>>;
  set.reduction(type, ReduceOp::min) = reduce<ExtremeOp<std::int8_t, Format::shape, false>>;
  set.scale_float[static_cast<std::size_t>(type)] = scale_fp8<Format>;
}

void add_fp8(KernelSet& set) {
  add_fp8_kernels<E4m3>(set, DataType::f8e4m3);
  add_fp8_kernels<E5m2>(set, DataType::f8e5m2);
}

}  // namespace HWY_NAMESPACE
}  // namespace accl::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace accl::kernels {

const Family fp8_family = {&HWY_STATIC_DISPATCH(add_fp8), HWY_CHOOSE_SSE4(add_fp8),
                           HWY_CHOOSE_AVX2(add_fp8), HWY_CHOOSE_AVX3(add_fp8)};

}  // namespace accl::kernels
#endif
