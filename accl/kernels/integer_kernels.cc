// Integers, and copying. All arithmetic wraps, so signed and unsigned sums and products are one.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "accl/kernels/integer_kernels.cc"
#include <hwy/foreach_target.h>
// Highway's order: foreach_target.h first.
#include <hwy/highway.h>

#include <cstdint>
#include <type_traits>

#include "accl/kernels/loop-inl.h"
#include "accl/kernels/targets.h"

HWY_BEFORE_NAMESPACE();
namespace accl::kernels {
namespace HWY_NAMESPACE {

template <class T>
struct IntegerOp : Unchecked {
  using D = hn::ScalableTag<T>;
  using V = hn::Vec<D>;
  static constexpr std::size_t element_bytes = sizeof(T);
  static constexpr std::size_t unroll = 4;
};

template <class T>
struct IntegerSum : IntegerOp<T> {
  using V = typename IntegerOp<T>::V;
  template <bool careful>
  HWY_INLINE V apply(V a, V b, Unchecked::Seen&) const {
    return hn::Add(a, b);
  }
};

template <class T>
struct IntegerMax : IntegerOp<T> {
  using V = typename IntegerOp<T>::V;
  template <bool careful>
  HWY_INLINE V apply(V a, V b, Unchecked::Seen&) const {
    return hn::Max(a, b);
  }
};

template <class T>
struct IntegerMin : IntegerOp<T> {
  using V = typename IntegerOp<T>::V;
  template <bool careful>
  HWY_INLINE V apply(V a, V b, Unchecked::Seen&) const {
    return hn::Min(a, b);
  }
};

template <class V>
HWY_INLINE V multiply(V a, V b) {
  return hn::Mul(a, b);
}

// No processor multiplies bytes: two in a 16-bit lane, each by a 16-bit product.
template <class V>
HWY_INLINE V multiply_bytes(V a, V b) {
  const hn::DFromV<V> d;
  const V high = hn::Set(d, 0xFF00);
  const V even = hn::AndNot(high, hn::Mul(a, b));
  const V odd = hn::Mul(hn::ShiftRight<8>(a), hn::And(b, high));
  return hn::Or(even, odd);
}

// T is uint8_t, uint32_t or uint64_t.
template <class T>
struct IntegerProduct : Unchecked {
  static constexpr bool bytes = sizeof(T) == 1;
  using Lane = std::conditional_t<bytes, std::uint16_t, T>;
  using D = hn::ScalableTag<Lane>;
  using V = hn::Vec<D>;
  static constexpr std::size_t element_bytes = sizeof(T);
  static constexpr std::size_t unroll = 4;

  template <bool careful>
  HWY_INLINE V apply(V a, V b, Unchecked::Seen&) const {
    if constexpr (bytes) {
      return multiply_bytes(a, b);
    } else {
      return multiply(a, b);
    }
  }
};

template <class T>
struct IntegerFactor : IntegerProduct<T> {
  using typename IntegerProduct<T>::Lane;
  using V = typename IntegerProduct<T>::V;
  Lane factor;

  explicit IntegerFactor(std::int64_t by) : factor(static_cast<T>(by)) {
    if constexpr (IntegerProduct<T>::bytes) factor = static_cast<Lane>(factor * 0x0101);
  }

  template <bool careful>
  HWY_INLINE V apply(V a, V, Unchecked::Seen& seen) const {
    const V by = hn::Set(typename IntegerProduct<T>::D(), factor);
    return IntegerProduct<T>::template apply<careful>(a, by, seen);
  }
};

struct CopyOp : IntegerOp<std::uint8_t> {
  template <bool careful>
  HWY_INLINE V apply(V a, V, Unchecked::Seen&) const {
    return a;
  }
};

template <class T>
void scale_integer(void* target, const void* source, std::size_t count, std::int64_t factor) {
  transform(IntegerFactor<T>(factor), target, source, count, Store::cached);
}

void copy_streaming(void* target, const void* source, std::size_t bytes) {
  transform(CopyOp(), target, source, bytes, Store::stream);
}

template <class Signed>
void add_integer_kernels(KernelSet& set, DataType type, DataType unsigned_type) {
  using Unsigned = std::make_unsigned_t<Signed>;
  set.reduction(type, ReduceOp::max) = reduce<IntegerMax<Signed>>;
  set.reduction(type, ReduceOp::min) = reduce<IntegerMin<Signed>>;
  set.reduction(unsigned_type, ReduceOp::max) = reduce<IntegerMax<Unsigned>>;
  set.reduction(unsigned_type, ReduceOp::min) = reduce<IntegerMin<Unsigned>>;
  for (const DataType each : {type, unsigned_type}) {
    set.reduction(each, ReduceOp::sum) = reduce<IntegerSum<Unsigned>>;
    set.reduction(each, ReduceOp::prod) = reduce<IntegerProduct<Unsigned>>;
    set.scale_integer[static_cast<std::size_t>(each)] = scale_integer<Unsigned>;
  }
}

void add_integers(KernelSet& set) {
  add_integer_kernels<std::int8_t>(set, DataType::int8, DataType::uint8);
  add_integer_kernels<std::int32_t>(set, DataType::int32, DataType::uint32);
  add_integer_kernels<std::int64_t>(set, DataType::int64, DataType::uint64);
  set.copy = copy_streaming;
}

}  // namespace HWY_NAMESPACE
}  // namespace accl::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace accl::kernels {

const Family integer_family = {&HWY_STATIC_DISPATCH(add_integers), HWY_CHOOSE_SSE4(add_integers),
                               HWY_CHOOSE_AVX2(add_integers), HWY_CHOOSE_AVX3(add_integers)};

}  // namespace accl::kernels
#endif
