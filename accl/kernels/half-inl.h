// half-inl.h - what fp16, bf16 and fp8 share: vectors of fp16 bits to float and back, and max and
// min of any of these types without converting. Compiled once per instruction set.
#if defined(ACCL_KERNELS_HALF_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef ACCL_KERNELS_HALF_INL_H
#undef ACCL_KERNELS_HALF_INL_H
#else
#define ACCL_KERNELS_HALF_INL_H
#endif

#include <hwy/highway.h>

#include <cstdint>

#include "accl/kernels/loop-inl.h"

HWY_BEFORE_NAMESPACE();
namespace accl::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_SSE4

// No conversion instructions here: integer arithmetic, after Fabian Giesen's public-domain
// half_to_float_fast and float_to_half_fast3_rtne (gist.github.com/rygorous/2156668). Subnormal
// halves are normalised, and rounded, by adding and subtracting a power of two as a float.
template <class DF>
HWY_INLINE hn::Vec<DF> float_from_half(DF df, hn::Vec<hn::Rebind<std::uint16_t, DF>> half) {
  const hn::RebindToUnsigned<DF> du;
  const hn::RebindToSigned<DF> di;
  const auto wide = hn::PromoteTo(du, half);
  const auto magnitude = hn::And(wide, hn::Set(du, 0x7FFF));
  const auto sign = hn::ShiftLeft<16>(hn::Xor(wide, magnitude));
  const auto shifted = hn::Add(hn::ShiftLeft<13>(magnitude), hn::Set(du, (127 - 15) << 23));
  const auto subnormal =
      hn::BitCast(du, hn::Sub(hn::BitCast(df, hn::Add(shifted, hn::Set(du, 1 << 23))),
                              hn::BitCast(df, hn::Set(du, (127 - 14) << 23))));
  const auto infinite = hn::Add(shifted, hn::Set(du, (128 - 16) << 23));
  const auto signed_magnitude = hn::BitCast(di, magnitude);
  const auto is_normal = hn::Gt(signed_magnitude, hn::Set(di, 0x03FF));
  const auto is_infinite = hn::Gt(signed_magnitude, hn::Set(di, 0x7BFF));
  auto bits = hn::IfThenElse(hn::RebindMask(du, is_normal), shifted, subnormal);
  bits = hn::IfThenElse(hn::RebindMask(du, is_infinite), infinite, bits);
  return hn::BitCast(df, hn::Or(bits, sign));
}

template <class DF>
HWY_INLINE hn::Vec<hn::Rebind<std::uint16_t, DF>> half_from_float(DF df, hn::Vec<DF> value) {
  const hn::RebindToUnsigned<DF> du;
  const hn::RebindToSigned<DF> di;
  const auto bits = hn::BitCast(du, value);
  const auto magnitude = hn::And(bits, hn::Set(du, 0x7FFFFFFF));
  const auto sign = hn::ShiftRight<16>(hn::Xor(bits, magnitude));
  const auto is_odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(du, 1));
  const auto rebias = hn::Set(du, 0xFFFu - ((127u - 15u) << 23));
  const auto normal = hn::ShiftRight<13>(hn::Add(hn::Add(magnitude, rebias), is_odd));
  const auto point = hn::Set(du, (127 - 15 + 23 - 10 + 1) << 23);
  const auto subnormal =
      hn::Sub(hn::BitCast(du, hn::Add(hn::BitCast(df, magnitude), hn::BitCast(df, point))), point);
  const auto signed_magnitude = hn::BitCast(di, magnitude);
  const auto is_subnormal = hn::Gt(hn::Set(di, 113 << 23), signed_magnitude);
  const auto is_infinite = hn::Gt(signed_magnitude, hn::Set(di, (143 << 23) - 1));
  const auto is_nan = hn::Gt(signed_magnitude, hn::Set(di, 255 << 23));
  auto half = hn::IfThenElse(hn::RebindMask(du, is_subnormal), subnormal, normal);
  half = hn::IfThenElse(hn::RebindMask(du, is_infinite), hn::Set(du, 0x7C00), half);
  half = hn::IfThenElse(hn::RebindMask(du, is_nan), hn::Set(du, 0x7E00), half);
  const hn::Rebind<std::uint16_t, DF> dh;
  return hn::DemoteTo(dh, hn::BitCast(di, hn::Or(half, sign)));
}

#else

template <class DF>
HWY_INLINE hn::Vec<DF> float_from_half(DF df, hn::Vec<hn::Rebind<std::uint16_t, DF>> half) {
  return hn::PromoteTo(df, hn::BitCast(hn::Rebind<hwy::float16_t, DF>(), half));
}

template <class DF>
HWY_INLINE hn::Vec<hn::Rebind<std::uint16_t, DF>> half_from_float(DF, hn::Vec<DF> value) {
  const hn::Rebind<std::uint16_t, DF> dh;
  return hn::BitCast(dh, hn::DemoteTo(hn::Rebind<hwy::float16_t, DF>(), value));
}

#endif

// What a small floating type looks like as a signed integer of its size. Magnitudes beyond
// `infinity` are NaN; results beyond `largest` become it.
template <class Integer>
struct Shape {
  Integer infinity;
  Integer largest;
  Integer quiet_nan;
};

// Max and min need no float: with the bits of negative numbers flipped below the sign, integers
// compare as the numbers they stand for, -0 below +0.
template <class Integer, Shape<Integer> shape, bool largest>
struct ExtremeOp : Unchecked {
  using D = hn::ScalableTag<Integer>;
  using V = hn::Vec<D>;
  static constexpr std::size_t element_bytes = sizeof(Integer);
  static constexpr std::size_t unroll = 2;

  static HWY_INLINE V flip(V value) {
    const V magnitude = hn::Set(D(), hwy::LimitsMax<Integer>());
    return hn::Xor(value, hn::And(hn::BroadcastSignBit(value), magnitude));
  }

  template <bool careful>
  HWY_INLINE V apply(V a, V b, Unchecked::Seen&) const {
    const D d;
    const V magnitude = hn::Set(d, hwy::LimitsMax<Integer>());
    const V greater = hn::Max(hn::And(a, magnitude), hn::And(b, magnitude));
    const auto is_nan = hn::Gt(greater, hn::Set(d, shape.infinity));
    V extreme = largest ? hn::Max(flip(a), flip(b)) : hn::Min(flip(a), flip(b));
    if constexpr (shape.largest != shape.infinity) {
      constexpr auto lowest = static_cast<Integer>(-shape.largest - 1);
      extreme = hn::Max(hn::Min(extreme, hn::Set(d, shape.largest)), hn::Set(d, lowest));
    }
    return hn::IfThenElse(is_nan, hn::Set(d, shape.quiet_nan), flip(extreme));
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace accl::kernels
HWY_AFTER_NAMESPACE();

#endif  // ACCL_KERNELS_HALF_INL_H
