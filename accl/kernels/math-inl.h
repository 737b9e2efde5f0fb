// math-inl.h - arithmetic on vectors of float and double, the same bits on every instruction set
// and for either order of the operands. Compiled once per instruction set.
//
// Processors differ, or depend on the order, in which NaN comes out and in max and min of the two
// zeros. So each operation tells of NaNs in its result: the fast form adds them to `seen`, the
// careful form puts the quiet NaN of the type in their place.
#if defined(ACCL_KERNELS_MATH_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef ACCL_KERNELS_MATH_INL_H
#undef ACCL_KERNELS_MATH_INL_H
#else
#define ACCL_KERNELS_MATH_INL_H
#endif

#include <hwy/highway.h>

#include <limits>

HWY_BEFORE_NAMESPACE();
namespace accl::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

template <bool careful, class D>
HWY_INLINE hn::Vec<D> settle_nan(D d, hn::Vec<D> value, hn::Mask<D> is_nan, hn::Mask<D>& seen) {
  if constexpr (careful) {
    using T = hn::TFromD<D>;
    return hn::IfThenElse(is_nan, hn::Set(d, std::numeric_limits<T>::quiet_NaN()), value);
  } else {
    seen = hn::Or(seen, is_nan);
    return value;
  }
}

struct Sum {
  template <bool careful, class D>
  HWY_INLINE hn::Vec<D> apply(D d, hn::Vec<D> a, hn::Vec<D> b, hn::Mask<D>& seen) const {
    const auto sum = hn::Add(a, b);
    return settle_nan<careful>(d, sum, hn::IsNaN(sum), seen);
  }
};

struct Product {
  template <bool careful, class D>
  HWY_INLINE hn::Vec<D> apply(D d, hn::Vec<D> a, hn::Vec<D> b, hn::Mask<D>& seen) const {
    const auto product = hn::Mul(a, b);
    return settle_nan<careful>(d, product, hn::IsNaN(product), seen);
  }
};

template <class T>
struct Factor {
  T factor;
  template <bool careful, class D>
  HWY_INLINE hn::Vec<D> apply(D d, hn::Vec<D> a, hn::Vec<D>, hn::Mask<D>& seen) const {
    const auto product = hn::Mul(a, hn::Set(d, factor));
    return settle_nan<careful>(d, product, hn::IsNaN(product), seen);
  }
};

// Where a and b are equal but not the same bits they are zeros, of which Max returns either,
// depending on the order: both orders together have both, and -0 is the one with the sign bit set.
struct Largest {
  template <bool careful, class D>
  HWY_INLINE hn::Vec<D> apply(D d, hn::Vec<D> a, hn::Vec<D> b, hn::Mask<D>& seen) const {
    const auto largest = hn::And(hn::Max(a, b), hn::Max(b, a));
    return settle_nan<careful>(d, largest, hn::Or(hn::IsNaN(a), hn::IsNaN(b)), seen);
  }
};

struct Smallest {
  template <bool careful, class D>
  HWY_INLINE hn::Vec<D> apply(D d, hn::Vec<D> a, hn::Vec<D> b, hn::Mask<D>& seen) const {
    const auto smallest = hn::Or(hn::Min(a, b), hn::Min(b, a));
    return settle_nan<careful>(d, smallest, hn::Or(hn::IsNaN(a), hn::IsNaN(b)), seen);
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace accl::kernels
HWY_AFTER_NAMESPACE();

#endif  // ACCL_KERNELS_MATH_INL_H
