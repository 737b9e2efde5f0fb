#include "bench/perf/pattern.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "accl/base/assert.h"

namespace accl::perf {
namespace {

// Enough for every type; larger numbers would only make the doubles below inexact.
constexpr std::int64_t largest_whole = 1 << 20;

struct FloatFormat {
  int exponent_bits;
  int mantissa_bits;
  std::uint64_t largest;  // Bits of what an overflow becomes.
};

FloatFormat format_of(DataType type) {
  switch (type) {
    case DataType::float16:
      return {5, 10, 0x7c00};
    case DataType::bfloat16:
      return {8, 7, 0x7f80};
    case DataType::f8e4m3:
      return {4, 3, 0x7e};
    case DataType::f8e5m2:
      return {5, 2, 0x7b};
    case DataType::float32:
      return {8, 23, 0x7f800000};
    case DataType::float64:
      return {11, 52, 0x7ff0000000000000};
    default:
      break;
  }
  ACCL_ASSERT(false, static_cast<int>(type));
  return {};
}

bool is_float(DataType type) {
  return type == DataType::float16 || type == DataType::bfloat16 || type == DataType::float32 ||
         type == DataType::float64 || type == DataType::f8e4m3 || type == DataType::f8e5m2;
}

bool is_signed_integer(DataType type) {
  return type == DataType::int8 || type == DataType::int32 || type == DataType::int64;
}

// SplitMix64's finaliser over the three coordinates.
std::uint64_t hash(std::uint64_t seed, std::uint64_t rank, std::uint64_t at) {
  std::uint64_t x = seed * 0x9e3779b97f4a7c15 + rank * 0xd1b54a32d192ed03 + at * 0x8cb92ba72f3d8dd7;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// A whole number such that the sum of any ranks' numbers stays within +-limit.
std::int64_t small_whole(const PatternKey& key, std::uint64_t rank, std::uint64_t at,
                         std::int64_t limit) {
  const std::uint64_t bits = hash(key.seed, rank, at);
  const std::int64_t range = limit / key.ranks;
  if (range > 0) {
    const auto span = 2 * static_cast<std::uint64_t>(range) + 1;
    return static_cast<std::int64_t>(bits % span) - range;
  }
  const std::uint64_t period = (key.ranks + limit - 1) / static_cast<std::uint64_t>(limit);
  if ((rank + at + key.seed) % period != 0) return 0;
  return (bits & 1) != 0 ? 1 : -1;
}

// Two ranks per index, by lot, have a share in a floating average; with one rank, that one.
bool shares_in_average(const PatternKey& key, std::uint64_t rank, std::uint64_t at) {
  const std::uint64_t lot = hash(key.seed, ~std::uint64_t{0}, at);
  const std::uint64_t first = lot % key.ranks;
  const std::uint64_t others = std::max<std::uint64_t>(key.ranks - 1, 1);
  return rank == first || rank == (first + 1 + (lot >> 32) % others) % key.ranks;
}

double float_input(const PatternKey& key, std::uint64_t rank, std::uint64_t at) {
  const std::uint64_t bits = hash(key.seed, rank, at);
  const int digits = format_of(key.type).mantissa_bits + 1;
  const std::int64_t exact = std::min(largest_whole, std::int64_t{1} << std::min(digits, 40));
  switch (key.op) {
    case ReduceOp::sum:
      return static_cast<double>(small_whole(key, rank, at, exact));
    case ReduceOp::avg:
      if (!shares_in_average(key, rank, at)) return 0;
      return static_cast<double>(1 + bits % static_cast<std::uint64_t>(exact / 2));
    case ReduceOp::premul_sum:
      return static_cast<double>(small_whole(key, rank, at, exact / 2));
    case ReduceOp::max:
    case ReduceOp::min: {
      const auto span = 2 * static_cast<std::uint64_t>(exact) + 1;
      return static_cast<double>(static_cast<std::int64_t>(bits % span) - exact);
    }
    case ReduceOp::prod:
      break;
  }
  const double sign = (bits & 1) != 0 ? 1.0 : -1.0;
  const std::uint64_t period = (key.ranks + 3) / 4;
  if ((rank + at + key.seed) % period != 0) return sign;
  return (bits & 2) != 0 ? 2 * sign : sign / 2;
}

std::uint64_t integer_input(const PatternKey& key, std::uint64_t rank, std::uint64_t at) {
  const std::uint64_t bits = hash(key.seed, rank, at);
  if (key.op == ReduceOp::prod) return bits | 1;
  if (key.op != ReduceOp::avg) return bits;
  const std::int64_t limit = size_of(key.type) == 1 ? 127 : largest_whole;
  const std::int64_t value = small_whole(key, rank, at, limit);
  if (!is_signed_integer(key.type)) return static_cast<std::uint64_t>(std::abs(value));
  return static_cast<std::uint64_t>(value);
}

// The low bits that the type has, with the sign where it has one, as a 64-bit number.
std::int64_t narrow(DataType type, std::uint64_t value) {
  switch (type) {
    case DataType::int8:
      return static_cast<std::int8_t>(value);
    case DataType::uint8:
      return static_cast<std::uint8_t>(value);
    case DataType::int32:
      return static_cast<std::int32_t>(value);
    case DataType::uint32:
      return static_cast<std::uint32_t>(value);
    default:
      return static_cast<std::int64_t>(value);
  }
}

bool less(DataType type, std::uint64_t a, std::uint64_t b) {
  if (type == DataType::uint64) return a < b;
  return narrow(type, a) < narrow(type, b);
}

std::uint64_t combine(const PatternKey& key, std::uint64_t a, std::uint64_t b) {
  switch (key.op) {
    case ReduceOp::prod:
      return a * b;
    case ReduceOp::max:
      return less(key.type, a, b) ? b : a;
    case ReduceOp::min:
      return less(key.type, b, a) ? b : a;
    default:
      return a + b;
  }
}

double combine(const PatternKey& key, double a, double b) {
  switch (key.op) {
    case ReduceOp::prod:
      return a * b;
    case ReduceOp::max:
      return std::max(a, b);
    case ReduceOp::min:
      return std::min(a, b);
    default:
      return a + b;
  }
}

std::uint64_t reduced_integer(const PatternKey& key, std::uint64_t at) {
  std::uint64_t result = 0;
  for (std::uint32_t rank = 0; rank < key.ranks; ++rank) {
    std::uint64_t value = integer_input(key, rank, at);
    if (key.op == ReduceOp::premul_sum) value *= premul_factor(Rank{rank});
    result = rank == 0 ? value : combine(key, result, value);
  }
  if (key.op != ReduceOp::avg) return result;
  return static_cast<std::uint64_t>(narrow(key.type, result) /
                                    static_cast<std::int64_t>(key.ranks));
}

double reduced_float(const PatternKey& key, std::uint64_t at) {
  double result = 0;
  for (std::uint32_t rank = 0; rank < key.ranks; ++rank) {
    double value = float_input(key, rank, at);
    if (key.op == ReduceOp::premul_sum) value *= premul_factor(Rank{rank});
    result = rank == 0 ? value : combine(key, result, value);
  }
  return key.op == ReduceOp::avg ? result / key.ranks : result;
}

template <class Bits>
Bits load(const std::byte* from) {
  Bits bits;
  std::memcpy(&bits, from, sizeof bits);
  return bits;
}

// Distance in units of the last place between two floats of one sign, by their bits.
template <class Bits>
std::uint64_t distance(const std::byte* a, const std::byte* b) {
  const Bits x = load<Bits>(a);
  const Bits y = load<Bits>(b);
  return x > y ? static_cast<Bits>(x - y) : static_cast<Bits>(y - x);
}

std::uint64_t distance(const std::byte* a, const std::byte* b, std::size_t width) {
  switch (width) {
    case 1:
      return distance<std::uint8_t>(a, b);
    case 2:
      return distance<std::uint16_t>(a, b);
    case 4:
      return distance<std::uint32_t>(a, b);
    default:
      return distance<std::uint64_t>(a, b);
  }
}

}  // namespace

std::uint64_t encode(DataType type, double value) {
  const FloatFormat format = format_of(type);
  if (type == DataType::float64) return std::bit_cast<std::uint64_t>(value);
  const int bias = (1 << (format.exponent_bits - 1)) - 1;
  const std::uint64_t sign_bit = std::uint64_t{std::signbit(value)}
                                 << (format.exponent_bits + format.mantissa_bits);
  if (value == 0) return sign_bit;
  int exponent = 0;
  std::frexp(value, &exponent);  // |value| in [2^(exponent-1), 2^exponent).
  const int stored = std::max(exponent - 1, 1 - bias);
  const double units = std::nearbyint(std::ldexp(std::abs(value), format.mantissa_bits - stored));
  // A mantissa that rounds up to the next power of two carries into the exponent by itself.
  const auto mantissa = static_cast<std::uint64_t>(units);
  const std::uint64_t hidden = std::uint64_t{1} << format.mantissa_bits;
  const auto biased = static_cast<std::uint64_t>(stored + bias - 1);
  const std::uint64_t bits = mantissa < hidden ? mantissa : biased * hidden + mantissa;
  return sign_bit | std::min(bits, format.largest);
}

Pattern::Pattern(const PatternKey& key, unsigned tolerance_ulps)
    : width_(size_of(key.type)),
      tolerance_ulps_(tolerance_ulps),
      bytes_(std::min(key.elements, pattern_elements) * width_) {}

Pattern Pattern::input(const PatternKey& key, Rank rank) {
  Pattern pattern(key, 0);
  for (std::size_t at = 0; at * pattern.width_ < pattern.bytes_.size(); ++at) {
    const std::uint64_t bits = is_float(key.type)
                                   ? encode(key.type, float_input(key, index(rank), at))
                                   : integer_input(key, index(rank), at);
    std::memcpy(&pattern.bytes_[at * pattern.width_], &bits, pattern.width_);
  }
  return pattern;
}

Pattern Pattern::reduced(const PatternKey& key) {
  // A small power of two divides exactly in every type.
  const bool rounds = !std::has_single_bit(key.ranks) || key.ranks > 64;
  const bool tolerates = is_float(key.type) && key.op == ReduceOp::avg && rounds;
  Pattern pattern(key, tolerates ? 2 : 0);
  for (std::size_t at = 0; at * pattern.width_ < pattern.bytes_.size(); ++at) {
    const std::uint64_t bits =
        is_float(key.type) ? encode(key.type, reduced_float(key, at)) : reduced_integer(key, at);
    std::memcpy(&pattern.bytes_[at * pattern.width_], &bits, pattern.width_);
  }
  return pattern;
}

Pattern Pattern::moved(const PatternKey& key, Rank rank) {
  Pattern pattern(key, 0);
  for (std::size_t at = 0; at * pattern.width_ < pattern.bytes_.size(); ++at) {
    const std::uint64_t bits = hash(key.seed, index(rank) + 1, at);
    std::memcpy(&pattern.bytes_[at * pattern.width_], &bits, pattern.width_);
  }
  return pattern;
}

void Pattern::fill(std::span<std::byte> target, std::size_t first) const {
  std::size_t from = (first % pattern_elements) * width_;
  while (!target.empty()) {
    ACCL_ASSERT(from < bytes_.size(), first, bytes_.size());
    const std::size_t run = std::min(target.size(), bytes_.size() - from);
    std::memcpy(target.data(), &bytes_[from], run);
    target = target.subspan(run);
    from = 0;
  }
}

std::uint64_t Pattern::count_wrong(std::span<const std::byte> actual, std::size_t first) const {
  std::uint64_t wrong = 0;
  std::size_t from = (first % pattern_elements) * width_;
  while (!actual.empty()) {
    ACCL_ASSERT(from < bytes_.size(), first, bytes_.size());
    const std::size_t run = std::min(actual.size(), bytes_.size() - from);
    // Almost always equal: memcmp is as fast as memory, the count below need not be.
    if (std::memcmp(actual.data(), &bytes_[from], run) != 0) {
      wrong += count_wrong_run(actual.first(run), from);
    }
    actual = actual.subspan(run);
    from = 0;
  }
  return wrong;
}

std::uint64_t Pattern::count_wrong_run(std::span<const std::byte> actual, std::size_t from) const {
  std::uint64_t wrong = 0;
  for (std::size_t at = 0; at < actual.size(); at += width_) {
    const std::byte* got = &actual[at];
    const std::byte* wanted = &bytes_[from + at];
    if (std::memcmp(got, wanted, width_) == 0) continue;
    const bool close = tolerance_ulps_ != 0 && distance(got, wanted, width_) <= tolerance_ulps_;
    if (!close) ++wrong;
  }
  return wrong;
}

}  // namespace accl::perf
