// scalars.h - one number of any data type, as the kernels take factors.
#pragma once

#include <cstdint>

#include "accl/base/types.h"

namespace accl {

constexpr bool is_floating(DataType type) { return type >= DataType::float16; }

// The exact value of a floating scalar; 1 for an integer type.
double scalar_as_double(const void* scalar, DataType type);

// The value of an integer scalar, wrapped to 64 bits; 1 for a floating type.
std::int64_t scalar_as_integer(const void* scalar, DataType type);

}  // namespace accl
