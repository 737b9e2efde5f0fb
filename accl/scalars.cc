#include "accl/scalars.h"

#include <cmath>
#include <cstring>
#include <limits>

namespace accl {
namespace {

template <class Number>
Number load(const void* from) {
  Number value{};
  std::memcpy(&value, from, sizeof value);
  return value;
}

// A binary floating format: sign, exponent, mantissa, from the top.
struct Format {
  int exponent_bits;
  int mantissa_bits;
  bool has_infinity;  // Else only all ones in exponent and mantissa is special: NaN.
};

double decode(std::uint32_t bits, const Format& format) {
  const std::uint32_t mantissa = bits & ((1u << format.mantissa_bits) - 1);
  const std::uint32_t top = (1u << format.exponent_bits) - 1;
  const std::uint32_t exponent = (bits >> format.mantissa_bits) & top;
  const bool is_negative = (bits >> (format.mantissa_bits + format.exponent_bits)) & 1;
  const bool is_all_ones = mantissa == (1u << format.mantissa_bits) - 1;
  const int bias = (1 << (format.exponent_bits - 1)) - 1;
  double value = 0;
  if (exponent == top && (format.has_infinity ? mantissa != 0 : is_all_ones)) {
    value = std::numeric_limits<double>::quiet_NaN();
  } else if (exponent == top && format.has_infinity) {
    value = std::numeric_limits<double>::infinity();
  } else if (exponent == 0) {
    value = std::ldexp(mantissa, 1 - bias - format.mantissa_bits);
  } else {
    value = std::ldexp(mantissa + (1u << format.mantissa_bits),
                       static_cast<int>(exponent) - bias - format.mantissa_bits);
  }
  return is_negative ? -value : value;
}

}  // namespace

double scalar_as_double(const void* scalar, DataType type) {
  switch (type) {
    case DataType::float64:
      return load<double>(scalar);
    case DataType::float32:
      return load<float>(scalar);
    case DataType::float16:
      return decode(load<std::uint16_t>(scalar), {5, 10, true});
    case DataType::bfloat16:
      return decode(load<std::uint16_t>(scalar), {8, 7, true});
    case DataType::f8e4m3:
      return decode(load<std::uint8_t>(scalar), {4, 3, false});
    case DataType::f8e5m2:
      return decode(load<std::uint8_t>(scalar), {5, 2, true});
    default:
      return 1;
  }
}

std::int64_t scalar_as_integer(const void* scalar, DataType type) {
  switch (type) {
    case DataType::int8:
      return load<std::int8_t>(scalar);
    case DataType::uint8:
      return load<std::uint8_t>(scalar);
    case DataType::int32:
      return load<std::int32_t>(scalar);
    case DataType::uint32:
      return load<std::uint32_t>(scalar);
    case DataType::int64:
      return load<std::int64_t>(scalar);
    case DataType::uint64:
      return static_cast<std::int64_t>(load<std::uint64_t>(scalar));
    default:
      return 1;
  }
}

}  // namespace accl
