// reference.h - what every kernel must compute, one element at a time, written from the formats'
// definitions and sharing nothing with the kernels but the names of types and operations.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "accl/base/types.h"

namespace accl::testing {

inline constexpr DataType all_types[] = {DataType::int8,     DataType::uint8,   DataType::int32,
                                         DataType::uint32,   DataType::int64,   DataType::uint64,
                                         DataType::float16,  DataType::float32, DataType::float64,
                                         DataType::bfloat16, DataType::f8e4m3,  DataType::f8e5m2};
inline constexpr ReduceOp arithmetic_ops[] = {ReduceOp::sum, ReduceOp::prod, ReduceOp::max,
                                              ReduceOp::min};

bool is_floating(DataType type);

// Elements are passed as their bits, zero-extended.
std::uint64_t reference_reduce(DataType type, ReduceOp op, std::uint64_t a, std::uint64_t b);
std::uint64_t reference_scale(DataType type, std::uint64_t source, double factor);
std::uint64_t reference_scale(DataType type, std::uint64_t source, std::int64_t factor);
std::uint64_t reference_divide(DataType type, std::uint64_t source, std::uint32_t ranks);

// Elements packed as in memory.
using Bytes = std::vector<std::uint8_t>;
std::uint64_t element(const std::uint8_t* data, DataType type, std::size_t index);
void append_element(Bytes& data, DataType type, std::uint64_t bits);

// Values of every sort: random bits, small numbers, zeros, subnormals, extremes, infinities, NaN.
Bytes mixed_values(DataType type, std::size_t count, std::uint32_t seed);
// The values on which implementations disagree.
std::vector<std::uint64_t> special_values(DataType type);

Bytes reference_reduce(DataType type, ReduceOp op, const Bytes& a, const Bytes& b);

// Empty if equal, otherwise the first element that differs.
std::string difference(DataType type, const std::uint8_t* got, const std::uint8_t* want,
                       std::size_t count);

}  // namespace accl::testing
