// Every instruction set this machine has computes, for every type and operation, the bits that the
// formats' definitions and the promises of kernels.h ask for.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "accl/kernels/kernels.h"
#include "accl/kernels/targets.h"
#include "tests/kernels/reference.h"

namespace accl::testing {
namespace {

using kernels::available_kernels;

// Element i of a with element i of b.
struct Pairs {
  Bytes a, b;
};

Pairs all_pairs_of_bytes() {
  Pairs pairs;
  for (unsigned i = 0; i < 256 * 256; ++i) {
    pairs.a.push_back(static_cast<std::uint8_t>(i));
    pairs.b.push_back(static_cast<std::uint8_t>(i >> 8));
  }
  return pairs;
}

// All 65536 values with every fourth special one. With 0 and 1 among those, and sums and products,
// that is a test of the conversions.
Pairs all_halves_with_special(DataType type) {
  Pairs pairs;
  const auto special = special_values(type);
  for (std::size_t i = 0; i < special.size(); i += 4) {
    for (std::uint64_t bits = 0; bits < 65536; ++bits) {
      append_element(pairs.a, type, bits);
      append_element(pairs.b, type, special[i]);
    }
  }
  return pairs;
}

Pairs special_pairs(DataType type) {
  Pairs pairs;
  for (const std::uint64_t a : special_values(type)) {
    for (const std::uint64_t b : special_values(type)) {
      append_element(pairs.a, type, a);
      append_element(pairs.b, type, b);
    }
  }
  return pairs;
}

void expect_both_orders(const kernels::KernelSet& set, DataType type, ReduceOp op,
                        const Pairs& pairs, const Bytes& want) {
  const std::size_t count = want.size() / size_of(type);
  const ReduceKernel kernel = set.reduction(type, op);
  ASSERT_NE(kernel, nullptr);
  Bytes got(want.size(), 0xA5);
  kernel(got.data(), pairs.a.data(), pairs.b.data(), count, Store::cached);
  EXPECT_EQ(difference(type, got.data(), want.data(), count), "") << set.name << " a op b";
  got.assign(want.size(), 0xA5);
  kernel(got.data(), pairs.b.data(), pairs.a.data(), count, Store::cached);
  EXPECT_EQ(difference(type, got.data(), want.data(), count), "") << set.name << " b op a";
}

class Values : public ::testing::TestWithParam<DataType> {
 protected:
  static void expect_pairs(const Pairs& pairs) {
    for (const ReduceOp op : arithmetic_ops) {
      SCOPED_TRACE(std::string(name_of(GetParam())) + " " + std::string(name_of(op)));
      const Bytes want = reference_reduce(GetParam(), op, pairs.a, pairs.b);
      for (const auto& set : available_kernels()) {
        expect_both_orders(set, GetParam(), op, pairs, want);
      }
    }
  }
};

TEST_P(Values, EveryPairOfSpecialValues) { expect_pairs(special_pairs(GetParam())); }

TEST_P(Values, RandomPairs) {
  constexpr std::size_t count = 200'000;
  expect_pairs({mixed_values(GetParam(), count, 1), mixed_values(GetParam(), count, 2)});
}

TEST_P(Values, Exhaustive) {
  if (size_of(GetParam()) == 1) {
    expect_pairs(all_pairs_of_bytes());
  } else if (size_of(GetParam()) == 2) {
    expect_pairs(all_halves_with_special(GetParam()));
  } else {
    // Too many for all; more random ones instead.
    constexpr std::size_t count = 300'000;
    expect_pairs({mixed_values(GetParam(), count, 3), mixed_values(GetParam(), count, 4)});
  }
}

Bytes scale_inputs(DataType type) {
  Bytes source = mixed_values(type, 5000, 5);
  const std::size_t values = size_of(type) <= 2 ? std::size_t{1} << (8 * size_of(type)) : 0;
  for (std::size_t bits = 0; bits < values; ++bits) append_element(source, type, bits);
  for (const std::uint64_t bits : special_values(type)) append_element(source, type, bits);
  return source;
}

void expect_scaled_float(DataType type, const Bytes& source, double factor) {
  SCOPED_TRACE(std::string(name_of(type)) + " * " + std::to_string(factor));
  const std::size_t count = source.size() / size_of(type);
  Bytes want;
  for (std::size_t i = 0; i < count; ++i) {
    append_element(want, type, reference_scale(type, element(source.data(), type, i), factor));
  }
  for (const auto& set : available_kernels()) {
    Bytes got(source.size());
    const auto kernel = set.scale_float[static_cast<std::size_t>(type)];
    kernel(got.data(), source.data(), count, factor);
    EXPECT_EQ(difference(type, got.data(), want.data(), count), "") << set.name;
    kernel(got.data(), got.data(), 0, factor);
    EXPECT_EQ(difference(type, got.data(), want.data(), count), "") << set.name << ", 0 elements";
  }
  Bytes got = source;
  scale(got.data(), got.data(), count, type, factor);
  EXPECT_EQ(difference(type, got.data(), want.data(), count), "") << "in place";
}

void expect_scaled_integer(DataType type, const Bytes& source, std::int64_t factor) {
  SCOPED_TRACE(std::string(name_of(type)) + " * " + std::to_string(factor));
  const std::size_t count = source.size() / size_of(type);
  Bytes want;
  for (std::size_t i = 0; i < count; ++i) {
    append_element(want, type, reference_scale(type, element(source.data(), type, i), factor));
  }
  for (const auto& set : available_kernels()) {
    Bytes got(source.size());
    set.scale_integer[static_cast<std::size_t>(type)](got.data(), source.data(), count, factor);
    EXPECT_EQ(difference(type, got.data(), want.data(), count), "") << set.name;
  }
  Bytes got = source;
  scale(got.data(), got.data(), count, type, factor);
  EXPECT_EQ(difference(type, got.data(), want.data(), count), "") << "in place";
}

TEST_P(Values, Scale) {
  const Bytes source = scale_inputs(GetParam());
  if (is_floating(GetParam())) {
    // Ties and near-ties of fp8, subnormal results, overflow, and factors that are no number.
    for (const double factor : {1.0,
                                -1.0,
                                0.0,
                                -0.0,
                                0.5,
                                1.0 / 3,
                                1.0 / 7,
                                0.1,
                                1.0 + 1.0 / (1 << 20),
                                1.0625,
                                1.03125,
                                1.0 - 1.0 / (1 << 20),
                                0x1p-9,
                                0x1.8p-12,
                                3e-5,
                                1e-30,
                                1e30,
                                1e-45,
                                4096.5,
                                std::numeric_limits<double>::infinity(),
                                std::nan("")}) {
      expect_scaled_float(GetParam(), source, factor);
    }
  } else {
    for (const std::int64_t factor : {0L, 1L, -1L, 3L, 255L, 1L << 40, -987654321987L}) {
      expect_scaled_integer(GetParam(), source, factor);
    }
  }
}

class Integers : public ::testing::TestWithParam<DataType> {};

TEST_P(Integers, Divide) {
  const Bytes source = scale_inputs(GetParam());
  const std::size_t count = source.size() / size_of(GetParam());
  for (const std::uint32_t ranks :
       {1u, 2u, 3u, 7u, 10u, 127u, 255u, 256u, 65537u, 0x7FFFFFFFu, 0x80000000u, 0xFFFFFFFFu}) {
    Bytes want;
    for (std::size_t i = 0; i < count; ++i) {
      append_element(want, GetParam(),
                     reference_divide(GetParam(), element(source.data(), GetParam(), i), ranks));
    }
    Bytes got = source;
    divide(got.data(), got.data(), count, GetParam(), ranks);
    EXPECT_EQ(difference(GetParam(), got.data(), want.data(), count), "") << ranks;
  }
}

INSTANTIATE_TEST_SUITE_P(Types, Integers, ::testing::ValuesIn(all_types, all_types + 6),
                         [](const auto& info) { return std::string(name_of(info.param)); });

INSTANTIATE_TEST_SUITE_P(Types, Values, ::testing::ValuesIn(all_types),
                         [](const auto& info) { return std::string(name_of(info.param)); });

TEST(Kernels, RunTheBestSet) {
  ASSERT_FALSE(available_kernels().empty());
  const auto& best = available_kernels().front();
  EXPECT_STREQ(kernel_target(), best.name);
  EXPECT_STREQ(available_kernels().back().name, "generic");
  for (const DataType type : all_types) {
    for (const ReduceOp op : arithmetic_ops) {
      EXPECT_EQ(reduce_kernel(type, op), best.reduction(type, op));
    }
    EXPECT_EQ(reduce_kernel(type, ReduceOp::avg), best.reduction(type, ReduceOp::sum));
    EXPECT_EQ(reduce_kernel(type, ReduceOp::premul_sum), best.reduction(type, ReduceOp::sum));
  }
}

// The reference itself, at points known from the formats' tables.
TEST(Reference, KnownValues) {
  const auto sum = [](DataType type, std::uint64_t a, std::uint64_t b) {
    return reference_reduce(type, ReduceOp::sum, a, b);
  };
  EXPECT_EQ(sum(DataType::float16, 0x3C00, 0x3C00), 0x4000u);  // 1 + 1 = 2
  EXPECT_EQ(sum(DataType::float16, 0x7BFF, 0x7BFF), 0x7C00u);  // 65504 twice
  EXPECT_EQ(sum(DataType::float16, 0x0001, 0x0001), 0x0002u);
  EXPECT_EQ(sum(DataType::bfloat16, 0x3F80, 0x3B80), 0x3F80u);  // 1 + 2^-8: to even
  EXPECT_EQ(sum(DataType::bfloat16, 0x3F81, 0x3B80), 0x3F82u);
  EXPECT_EQ(sum(DataType::f8e4m3, 0x38, 0x38), 0x40u);  // 1 + 1 = 2
  EXPECT_EQ(sum(DataType::f8e4m3, 0x7E, 0x7E), 0x7Eu);  // 448 twice
  EXPECT_EQ(sum(DataType::f8e4m3, 0xFF, 0x00), 0x7Fu);
  EXPECT_EQ(sum(DataType::f8e5m2, 0x3C, 0x3C), 0x40u);
  EXPECT_EQ(sum(DataType::f8e5m2, 0x7B, 0x7B), 0x7Bu);
  EXPECT_EQ(sum(DataType::f8e5m2, 0x7C, 0xFC), 0x7Eu);  // Infinity less itself.
  EXPECT_EQ(reference_reduce(DataType::float32, ReduceOp::max, 0x80000000, 0), 0u);
  EXPECT_EQ(reference_reduce(DataType::float32, ReduceOp::min, 0, 0x80000000), 0x80000000u);
  EXPECT_EQ(reference_reduce(DataType::float32, ReduceOp::min, 0, 0xFF800001), 0x7FC00000u);
}

TEST(KernelsDeathTest, Rejects) {
  float value = 1;
  EXPECT_DEATH(scale(&value, &value, 1, DataType::int32, 0.5), "int32");
  EXPECT_DEATH(scale(&value, &value, 1, DataType::float32, std::int64_t{2}), "float");
  EXPECT_DEATH(divide(&value, &value, 1, DataType::float32, 2), "float");
  EXPECT_DEATH(divide(&value, &value, 1, DataType::int32, 0), "ranks");
}

}  // namespace
}  // namespace accl::testing
