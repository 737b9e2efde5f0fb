#include "tests/kernels/reference.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

namespace accl::testing {
namespace {

// A binary floating format of up to 16 bits.
struct Format {
  int bits;
  int mantissa_bits;
  int bias;
  bool has_infinity;  // Otherwise the top exponent holds numbers, and NaN is all ones.
  bool saturates;
  std::uint64_t quiet_nan;
  double largest;

  std::uint64_t sign_bit() const { return std::uint64_t{1} << (bits - 1); }
  std::uint64_t infinity() const { return sign_bit() - (std::uint64_t{1} << mantissa_bits); }
};

constexpr Format half{16, 10, 15, true, false, 0x7E00, 65504};
constexpr Format brain{16, 7, 127, true, false, 0x7FC0, 0x1.FEp127};
constexpr Format e4m3{8, 3, 7, false, true, 0x7F, 448};
constexpr Format e5m2{8, 2, 15, true, true, 0x7E, 57344};

const Format& format_of(DataType type) {
  switch (type) {
    case DataType::float16:
      return half;
    case DataType::bfloat16:
      return brain;
    case DataType::f8e4m3:
      return e4m3;
    default:
      return e5m2;
  }
}

double decode(const Format& format, std::uint64_t bits) {
  const std::uint64_t magnitude = bits & (format.sign_bit() - 1);
  const double sign = (bits & format.sign_bit()) != 0 ? -1 : 1;
  const std::uint64_t top = format.has_infinity ? format.infinity() : format.quiet_nan;
  if (magnitude == top && format.has_infinity) return sign * HUGE_VAL;
  if (magnitude >= top) return std::nan("");
  const auto exponent = static_cast<int>(magnitude >> format.mantissa_bits);
  const auto mantissa =
      static_cast<double>(magnitude & ((std::uint64_t{1} << format.mantissa_bits) - 1));
  const double one = std::ldexp(1.0, format.mantissa_bits);
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - format.bias - format.mantissa_bits);
  return sign * std::ldexp(one + mantissa, exponent - format.bias - format.mantissa_bits);
}

// To nearest even, by scaling so that the last place that is kept counts one.
std::uint64_t encode(const Format& format, double value) {
  if (std::isnan(value)) return format.quiet_nan;
  const std::uint64_t sign = std::signbit(value) ? format.sign_bit() : 0;
  const double magnitude = std::fabs(value);
  if (magnitude == 0) return sign;
  const int least = 1 - format.bias;
  const int exponent = std::isinf(magnitude) ? 2000 : std::max(std::ilogb(magnitude), least);
  const int last_place = exponent - format.mantissa_bits;
  const double places = std::nearbyint(std::ldexp(magnitude, -last_place));
  if (std::isinf(magnitude) || std::ldexp(places, last_place) > format.largest) {
    if (!format.saturates) return sign | format.infinity();
    return sign | encode(format, format.largest);
  }
  const std::uint64_t one = std::uint64_t{1} << format.mantissa_bits;
  return sign | ((static_cast<std::uint64_t>(exponent - least) * one) +
                 static_cast<std::uint64_t>(places));
}

template <class T>
T extreme(T a, T b, bool largest) {
  if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<T>::quiet_NaN();
  const bool a_below = a < b || (a == b && std::signbit(a) && !std::signbit(b));
  return a_below == largest ? b : a;
}

template <class T>
T compute(ReduceOp op, T a, T b) {
  switch (op) {
    case ReduceOp::sum:
      return a + b;
    case ReduceOp::prod:
      return a * b;
    case ReduceOp::max:
      return extreme(a, b, true);
    default:
      return extreme(a, b, false);
  }
}

template <class Bits, class T>
std::uint64_t bits_of(T value) {
  if (std::isnan(value)) return std::bit_cast<Bits>(std::numeric_limits<T>::quiet_NaN());
  return std::bit_cast<Bits>(value);
}

template <class T>
std::uint64_t reduce_integers(ReduceOp op, std::uint64_t a_bits, std::uint64_t b_bits) {
  const auto a = static_cast<T>(a_bits), b = static_cast<T>(b_bits);
  std::uint64_t result = 0;
  switch (op) {
    case ReduceOp::sum:
      result = a_bits + b_bits;
      break;
    case ReduceOp::prod:
      result = a_bits * b_bits;
      break;
    case ReduceOp::max:
      result = static_cast<std::uint64_t>(a > b ? a : b);
      break;
    default:
      result = static_cast<std::uint64_t>(a < b ? a : b);
      break;
  }
  return static_cast<std::make_unsigned_t<T>>(result);
}

float float_of(std::uint64_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits));
}

}  // namespace

bool is_floating(DataType type) { return type >= DataType::float16; }

std::uint64_t reference_reduce(DataType type, ReduceOp op, std::uint64_t a, std::uint64_t b) {
  switch (type) {
    case DataType::int8:
      return reduce_integers<std::int8_t>(op, a, b);
    case DataType::uint8:
      return reduce_integers<std::uint8_t>(op, a, b);
    case DataType::int32:
      return reduce_integers<std::int32_t>(op, a, b);
    case DataType::uint32:
      return reduce_integers<std::uint32_t>(op, a, b);
    case DataType::int64:
      return reduce_integers<std::int64_t>(op, a, b);
    case DataType::uint64:
      return reduce_integers<std::uint64_t>(op, a, b);
    case DataType::float32:
      return bits_of<std::uint32_t>(compute(op, float_of(a), float_of(b)));
    case DataType::float64:
      return bits_of<std::uint64_t>(
          compute(op, std::bit_cast<double>(a), std::bit_cast<double>(b)));
    default:
      break;
  }
  const Format& format = format_of(type);
  const auto x = static_cast<float>(decode(format, a)), y = static_cast<float>(decode(format, b));
  return encode(format, compute(op, x, y));
}

std::uint64_t reference_scale(DataType type, std::uint64_t source, double factor) {
  if (type == DataType::float64) {
    return bits_of<std::uint64_t>(std::bit_cast<double>(source) * factor);
  }
  const auto by = static_cast<float>(factor);
  if (type == DataType::float32) return bits_of<std::uint32_t>(float_of(source) * by);
  const Format& format = format_of(type);
  return encode(format, static_cast<float>(decode(format, source)) * by);
}

std::uint64_t reference_scale(DataType type, std::uint64_t source, std::int64_t factor) {
  return reference_reduce(type, ReduceOp::prod, source, static_cast<std::uint64_t>(factor));
}

std::uint64_t reference_divide(DataType type, std::uint64_t source, std::uint32_t ranks) {
  const std::int64_t by = ranks;
  switch (type) {
    case DataType::int8:
      return static_cast<std::uint8_t>(static_cast<std::int8_t>(source) / by);
    case DataType::int32:
      return static_cast<std::uint32_t>(static_cast<std::int32_t>(source) / by);
    case DataType::int64:
      return static_cast<std::uint64_t>(static_cast<std::int64_t>(source) / by);
    default:
      return source / ranks;
  }
}

std::uint64_t element(const std::uint8_t* data, DataType type, std::size_t index) {
  static_assert(std::endian::native == std::endian::little);
  std::uint64_t bits = 0;
  std::memcpy(&bits, data + index * size_of(type), size_of(type));
  return bits;
}

void append_element(Bytes& data, DataType type, std::uint64_t bits) {
  const std::size_t end = data.size();
  data.resize(end + size_of(type));
  std::memcpy(data.data() + end, &bits, size_of(type));
}

std::vector<std::uint64_t> special_values(DataType type) {
  const int bits = static_cast<int>(8 * size_of(type));
  const std::uint64_t sign = std::uint64_t{1} << (bits - 1);
  std::vector<std::uint64_t> magnitudes{0, 1, 2, 3, 7, sign - 1, sign - 2, sign / 2};
  int mantissa_bits = 0;
  if (type == DataType::float32) mantissa_bits = 23;
  if (type == DataType::float64) mantissa_bits = 52;
  if (type >= DataType::bfloat16 || type == DataType::float16) {
    mantissa_bits = format_of(type).mantissa_bits;
  }
  if (is_floating(type)) {
    const std::uint64_t one = std::uint64_t{1} << mantissa_bits;
    const std::uint64_t infinity = sign - one;
    // Around infinity, a signalling and a quiet NaN, around the least normal, around 1.
    for (const std::uint64_t more :
         {infinity, infinity - 1, infinity + 1, infinity + one / 2, one, one - 1, one + 1,
          infinity / 2, (infinity / 2 & ~(one - 1)), (infinity / 2 & ~(one - 1)) + one - 1}) {
      magnitudes.push_back(more);
    }
  }
  std::vector<std::uint64_t> values = magnitudes;
  for (const std::uint64_t magnitude : magnitudes) values.push_back(magnitude | sign);
  return values;
}

Bytes mixed_values(DataType type, std::size_t count, std::uint32_t seed) {
  std::mt19937_64 random(seed);
  const auto special = special_values(type);
  const std::uint64_t low_half = (std::uint64_t{1} << (4 * size_of(type))) - 1;
  const std::uint64_t common = random();
  Bytes data;
  data.reserve(count * size_of(type));
  for (std::size_t i = 0; i < count; ++i) {
    // One in 64 special, so that blocks with and without a NaN occur; a third alike in the upper
    // half, so that floats add and cancel and do not only swallow one another.
    const std::uint64_t kind = random() % 64;
    std::uint64_t bits = random();
    if (kind == 0) bits = special[random() % special.size()];
    if (kind > 40) bits = (bits & low_half) | (common & ~low_half);
    append_element(data, type, bits);
  }
  return data;
}

Bytes reference_reduce(DataType type, ReduceOp op, const Bytes& a, const Bytes& b) {
  Bytes result;
  result.reserve(a.size());
  for (std::size_t i = 0; i < a.size() / size_of(type); ++i) {
    append_element(
        result, type,
        reference_reduce(type, op, element(a.data(), type, i), element(b.data(), type, i)));
  }
  return result;
}

std::string difference(DataType type, const std::uint8_t* got, const std::uint8_t* want,
                       std::size_t count) {
  if (count == 0 || std::memcmp(got, want, count * size_of(type)) == 0) return {};
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t is = element(got, type, i), should_be = element(want, type, i);
    if (is != should_be) {
      return fmt::format("element {} of {} is {:#x}, should be {:#x}", i, count, is, should_be);
    }
  }
  return "differs";
}

}  // namespace accl::testing
