// loop-inl.h - the loop round every kernel, compiled once per instruction set (included again by
// Highway's foreach_target.h, hence the unusual guard).
//
// An operation is a class with
//   D                  the Highway tag of the vectors it takes; a lane may hold several elements
//   element_bytes      of one element
//   unroll             vectors per turn of the loop
//   Seen, nothing(), found(seen)
//                      what the fast form has noticed of values that need the careful form (NaN)
//   apply<careful>(a, b, seen)
//                      the result; right for every value if careful, else where nothing was found
// Ends shorter than a vector run through the same apply() as the rest, so a result never depends
// on where its element lies. Whole blocks are computed before they are stored, so target may be a
// source, and a block can be done again.
#if defined(ACCL_KERNELS_LOOP_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef ACCL_KERNELS_LOOP_INL_H
#undef ACCL_KERNELS_LOOP_INL_H
#else
#define ACCL_KERNELS_LOOP_INL_H
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "accl/kernels/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace accl::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// A cache line: streaming stores are best when they fill lines from start to end.
constexpr std::size_t line_bytes = 64;

struct Buffers {
  std::uint8_t* target;
  const std::uint8_t* a;
  const std::uint8_t* b;
  std::size_t bytes;

  HWY_INLINE void advance(std::size_t by_bytes) {
    target += by_bytes;
    a += by_bytes;
    b += by_bytes;
    bytes -= by_bytes;
  }
};

// For operations that treat all values alike.
struct Unchecked {
  struct Seen {};
  static HWY_INLINE Seen nothing() { return {}; }
  static HWY_INLINE bool found(Seen) { return false; }
};

template <class D>
constexpr std::size_t bytes_of(D) {
  return hn::MaxLanes(D()) * sizeof(hn::TFromD<D>);
}

// Highway's scalar target loads through a T*, which promises the compiler alignment.
template <class D>
HWY_INLINE hn::Vec<D> load(D d, const std::uint8_t* from) {
#if HWY_TARGET == HWY_SCALAR
  hn::TFromD<D> lane;
  std::memcpy(&lane, from, sizeof(lane));
  return hn::Set(d, lane);
#else
  return hn::BitCast(d, hn::LoadU(hn::Repartition<std::uint8_t, D>(), from));
#endif
}

template <bool stream, class D>
HWY_INLINE void store(D d, hn::Vec<D> value, std::uint8_t* to) {
#if HWY_TARGET == HWY_SCALAR
  const hn::TFromD<D> lane = hn::GetLane(value);
  std::memcpy(to, &lane, sizeof(lane));
  (void)d;
#else
  const hn::Repartition<std::uint8_t, D> bytes;
  // Highway streams no less than 16 bytes, whatever the tag says.
  if constexpr (stream && bytes_of(d) >= 16) {
    hn::Stream(hn::BitCast(bytes, value), bytes, to);
  } else {
    hn::StoreU(hn::BitCast(bytes, value), bytes, to);
  }
  (void)d;
#endif
}

// The 1 to 8 bytes at `from`, without reading others.
HWY_INLINE std::uint64_t read_piece(const std::uint8_t* from, std::size_t bytes) {
  std::uint64_t whole = 0;
  std::uint32_t low = 0, high = 0;
  std::uint16_t low_short = 0, high_short = 0;
  if (bytes == 8) {
    std::memcpy(&whole, from, 8);
  } else if (bytes >= 4) {
    std::memcpy(&low, from, 4);
    std::memcpy(&high, from + bytes - 4, 4);
    whole = low | (std::uint64_t{high} << (8 * (bytes - 4)));
  } else if (bytes >= 2) {
    std::memcpy(&low_short, from, 2);
    std::memcpy(&high_short, from + bytes - 2, 2);
    whole = low_short | (std::uint64_t{high_short} << (8 * (bytes - 2)));
  } else {
    whole = *from;
  }
  return whole;
}

HWY_INLINE void write_piece(std::uint8_t* to, std::size_t bytes, std::uint64_t whole) {
  if (bytes == 8) {
    std::memcpy(to, &whole, 8);
  } else if (bytes >= 4) {
    const auto low = static_cast<std::uint32_t>(whole);
    const auto high = static_cast<std::uint32_t>(whole >> (8 * (bytes - 4)));
    std::memcpy(to, &low, 4);
    std::memcpy(to + bytes - 4, &high, 4);
  } else if (bytes >= 2) {
    const auto low = static_cast<std::uint16_t>(whole);
    const auto high = static_cast<std::uint16_t>(whole >> (8 * (bytes - 2)));
    std::memcpy(to, &low, 2);
    std::memcpy(to + bytes - 2, &high, 2);
  } else {
    *to = static_cast<std::uint8_t>(whole);
  }
}

// Less than one vector: whole elements, and not a byte beyond them is read or written.
template <class Op>
HWY_INLINE void partial(const Op& op, Buffers at) {
  const typename Op::D d;
  typename Op::Seen seen = Op::nothing();
#if HWY_TARGET == HWY_SCALAR
  hn::TFromD<typename Op::D> a{}, b{};
  std::memcpy(&a, at.a, at.bytes);
  std::memcpy(&b, at.b, at.bytes);
  const auto lane = hn::GetLane(op.template apply<true>(hn::Set(d, a), hn::Set(d, b), seen));
  std::memcpy(at.target, &lane, at.bytes);
#elif HWY_TARGET == HWY_AVX3
  const hn::Repartition<std::uint8_t, typename Op::D> bytes;
  const auto mask = hn::FirstN(bytes, at.bytes);
  const auto a = hn::BitCast(d, hn::MaskedLoad(mask, bytes, at.a));
  const auto b = hn::BitCast(d, hn::MaskedLoad(mask, bytes, at.b));
  const auto result = op.template apply<true>(a, b, seen);
  hn::BlendedStore(hn::BitCast(bytes, result), mask, bytes, at.target);
#else
  const hn::Repartition<std::uint64_t, typename Op::D> words;
  while (at.bytes > 0) {
    const std::size_t piece = at.bytes < 8 ? at.bytes : 8;
    const auto a = hn::BitCast(d, hn::Set(words, read_piece(at.a, piece)));
    const auto b = hn::BitCast(d, hn::Set(words, read_piece(at.b, piece)));
    const auto result = op.template apply<true>(a, b, seen);
    write_piece(at.target, piece, hn::GetLane(hn::BitCast(words, result)));
    at.advance(piece);
  }
#endif
}

// Any number of elements, by the careful form. Not inlined: it serves both ends, short calls and
// blocks with a NaN, and would be in each of those places. Arguments that fit into registers keep
// short calls short.
template <class Op>
HWY_NOINLINE void careful(const Op& op, std::uint8_t* target, const std::uint8_t* a,
                          const std::uint8_t* b, std::size_t bytes) {
  const typename Op::D d;
  constexpr std::size_t vector_bytes = bytes_of(d);
  typename Op::Seen seen = Op::nothing();
  Buffers at{target, a, b, bytes};
  while (at.bytes >= vector_bytes) {
    store<false>(d, op.template apply<true>(load(d, at.a), load(d, at.b), seen), at.target);
    at.advance(vector_bytes);
  }
  if (at.bytes > 0) partial(op, at);
}

// Whole blocks; what is left over stays in `at`. A streaming target must be aligned to a vector.
template <bool stream, class Op>
HWY_INLINE void blocks(const Op& op, Buffers& at) {
  const typename Op::D d;
  constexpr std::size_t vector_bytes = bytes_of(d);
  constexpr std::size_t block_bytes = vector_bytes * Op::unroll;
  while (at.bytes >= block_bytes) {
    typename Op::Seen seen = Op::nothing();
    hn::Vec<typename Op::D> result[Op::unroll];
    for (std::size_t i = 0; i < Op::unroll; ++i) {
      const std::size_t offset = i * vector_bytes;
      result[i] = op.template apply<false>(load(d, at.a + offset), load(d, at.b + offset), seen);
    }
    if (HWY_UNLIKELY(Op::found(seen))) {
      careful(op, at.target, at.a, at.b, block_bytes);
    } else {
      for (std::size_t i = 0; i < Op::unroll; ++i) {
        store<stream>(d, result[i], at.target + i * vector_bytes);
      }
    }
    at.advance(block_bytes);
  }
}

// Brings the target to a multiple of `alignment` bytes; false where whole elements never get there.
template <class Op>
HWY_INLINE bool align(const Op& op, Buffers& at, std::size_t alignment) {
  const std::size_t head = -reinterpret_cast<std::uintptr_t>(at.target) & (alignment - 1);
  if (head % Op::element_bytes != 0) return false;
  if (head != 0) {
    careful(op, at.target, at.a, at.b, head);
    at.advance(head);
  }
  return true;
}

// At least a block.
template <class Op>
HWY_NOINLINE void run_long(const Op& op, Buffers at, Store how) {
  constexpr std::size_t vector_bytes = bytes_of(typename Op::D());
  // Below this, aligning costs more than stores across cache lines do.
  constexpr std::size_t worth_aligning_bytes = 16 * line_bytes;
  if (at.bytes >= worth_aligning_bytes) {
    const bool stream = how == Store::stream;
    const bool aligned = align(op, at, stream ? line_bytes : vector_bytes);
    if (stream && aligned) {
      blocks<true>(op, at);
      hwy::FlushStream();
    }
  }
  blocks<false>(op, at);
  if (at.bytes > 0) careful(op, at.target, at.a, at.b, at.bytes);
}

template <class Op>
HWY_INLINE void run(const Op& op, void* target, const void* a, const void* b, std::size_t count,
                    Store how) {
  const std::size_t bytes = count * Op::element_bytes;
  auto* to = static_cast<std::uint8_t*>(target);
  const auto* x = static_cast<const std::uint8_t*>(a);
  const auto* y = static_cast<const std::uint8_t*>(b);
  if (bytes < bytes_of(typename Op::D()) * Op::unroll) {
    careful(op, to, x, y, bytes);
  } else {
    run_long(op, {to, x, y, bytes}, how);
  }
}

template <class Op>
void reduce(void* target, const void* a, const void* b, std::size_t count, Store how) {
  run(Op(), target, a, b, count, how);
}

// For operations of one source.
template <class Op>
HWY_INLINE void transform(const Op& op, void* target, const void* source, std::size_t count,
                          Store how) {
  run(op, target, source, source, count, how);
}

}  // namespace HWY_NAMESPACE
}  // namespace accl::kernels
HWY_AFTER_NAMESPACE();

#endif  // ACCL_KERNELS_LOOP_INL_H
