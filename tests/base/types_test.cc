#include "accl/base/types.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "accl/accl.h"

namespace accl {
namespace {

template <class Enum>
void expect_names_round_trip(std::size_t count, std::optional<Enum> (*named)(std::string_view)) {
  std::set<std::string> seen;
  for (std::size_t i = 0; i < count; ++i) {
    const auto value = static_cast<Enum>(i);
    EXPECT_FALSE(name_of(value).empty()) << i;
    EXPECT_TRUE(seen.insert(std::string(name_of(value))).second) << name_of(value);
    EXPECT_EQ(named(name_of(value)), value) << name_of(value);
  }
  EXPECT_EQ(named(""), std::nullopt);
  EXPECT_EQ(named("nonesuch"), std::nullopt);
  EXPECT_EQ(named(std::string(name_of(Enum{})) + " "), std::nullopt);
}

TEST(Types, NamesRoundTrip) {
  expect_names_round_trip<DataType>(data_type_count, data_type_named);
  expect_names_round_trip<ReduceOp>(reduce_op_count, reduce_op_named);
  expect_names_round_trip<Collective>(collective_count, collective_named);
}

TEST(Types, AreNamedAsNcclTestsNamesThem) {
  EXPECT_EQ(data_type_named("float"), DataType::float32);
  EXPECT_EQ(data_type_named("half"), DataType::float16);
  EXPECT_EQ(data_type_named("f8e5m2"), DataType::f8e5m2);
  EXPECT_EQ(reduce_op_named("mulsum"), ReduceOp::premul_sum);
  EXPECT_EQ(collective_named("reduce_scatter"), Collective::reduce_scatter);
}

TEST(Types, HaveTheSizesOfTheirFormats) {
  EXPECT_EQ(size_of(DataType::int8), 1U);
  EXPECT_EQ(size_of(DataType::uint8), 1U);
  EXPECT_EQ(size_of(DataType::int32), 4U);
  EXPECT_EQ(size_of(DataType::uint32), 4U);
  EXPECT_EQ(size_of(DataType::int64), 8U);
  EXPECT_EQ(size_of(DataType::uint64), 8U);
  EXPECT_EQ(size_of(DataType::float16), 2U);
  EXPECT_EQ(size_of(DataType::float32), 4U);
  EXPECT_EQ(size_of(DataType::float64), 8U);
  EXPECT_EQ(size_of(DataType::bfloat16), 2U);
  EXPECT_EQ(size_of(DataType::f8e4m3), 1U);
  EXPECT_EQ(size_of(DataType::f8e5m2), 1U);
}

TEST(Types, AreTheNumbersOfTheCInterface) {
  EXPECT_EQ(static_cast<int>(DataType::int8), ACCL_INT8);
  EXPECT_EQ(static_cast<int>(DataType::uint64), ACCL_UINT64);
  EXPECT_EQ(static_cast<int>(DataType::float16), ACCL_FLOAT16);
  EXPECT_EQ(static_cast<int>(DataType::float32), ACCL_FLOAT32);
  EXPECT_EQ(static_cast<int>(DataType::float64), ACCL_FLOAT64);
  EXPECT_EQ(static_cast<int>(DataType::bfloat16), ACCL_BFLOAT16);
  EXPECT_EQ(static_cast<int>(DataType::f8e4m3), ACCL_FLOAT8_E4M3);
  EXPECT_EQ(static_cast<int>(DataType::f8e5m2), ACCL_FLOAT8_E5M2);
  EXPECT_EQ(static_cast<int>(ReduceOp::sum), ACCL_SUM);
  EXPECT_EQ(static_cast<int>(ReduceOp::prod), ACCL_PROD);
  EXPECT_EQ(static_cast<int>(ReduceOp::max), ACCL_MAX);
  EXPECT_EQ(static_cast<int>(ReduceOp::min), ACCL_MIN);
  EXPECT_EQ(static_cast<int>(ReduceOp::avg), ACCL_AVG);
}

}  // namespace
}  // namespace accl
