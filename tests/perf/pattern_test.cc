// The test data itself: exact for every type, operation, number of ranks and order of summation,
// and different wherever a mistake could hide.
#include "bench/perf/pattern.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <numeric>
#include <random>

#include "accl/kernels/kernels.h"

namespace accl::perf {
namespace {

constexpr std::size_t length = 1000;

std::vector<std::byte> values(const Pattern& pattern, DataType type) {
  std::vector<std::byte> bytes(length * size_of(type));
  pattern.fill(bytes, 0);
  return bytes;
}

bool is_integer(DataType type) { return static_cast<unsigned>(type) < 6; }

void premultiply(std::vector<std::byte>& bytes, const PatternKey& key, Rank rank) {
  const int factor = premul_factor(rank);
  if (is_integer(key.type)) {
    scale(bytes.data(), bytes.data(), length, key.type, std::int64_t{factor});
  } else {
    scale(bytes.data(), bytes.data(), length, key.type, double(factor));
  }
}

void average(std::vector<std::byte>& bytes, const PatternKey& key) {
  if (is_integer(key.type)) {
    divide(bytes.data(), bytes.data(), length, key.type, key.ranks);
  } else {
    scale(bytes.data(), bytes.data(), length, key.type, 1.0 / key.ranks);
  }
}

// The library's own arithmetic, over the ranks in a random order and random grouping.
std::vector<std::byte> reduce_at_random(const PatternKey& key, std::mt19937& random) {
  std::vector<std::vector<std::byte>> parts;
  for (std::uint32_t rank = 0; rank < key.ranks; ++rank) {
    parts.push_back(values(Pattern::input(key, Rank{rank}), key.type));
    if (key.op == ReduceOp::premul_sum) premultiply(parts.back(), key, Rank{rank});
  }
  const ReduceKernel reduce = reduce_kernel(key.type, key.op);
  while (parts.size() > 1) {
    std::ranges::shuffle(parts, random);
    const std::vector<std::byte> last = std::move(parts.back());
    parts.pop_back();
    reduce(parts.back().data(), parts.back().data(), last.data(), length, Store::cached);
  }
  if (key.op == ReduceOp::avg) average(parts.front(), key);
  return parts.front();
}

TEST(Pattern, EveryOrderOfSummationGivesTheExpectedBits) {
  std::mt19937 random(1);
  for (std::size_t type = 0; type < data_type_count; ++type) {
    for (std::size_t op = 0; op < reduce_op_count; ++op) {
      for (const std::uint32_t ranks : {1u, 2u, 3u, 7u, 16u, 41u, 64u}) {
        const PatternKey key{static_cast<DataType>(type), static_cast<ReduceOp>(op), ranks, 7,
                             length};
        const std::vector<std::byte> result = reduce_at_random(key, random);
        EXPECT_EQ(Pattern::reduced(key).count_wrong(result, 0), 0u)
            << name_of(key.type) << " " << name_of(key.op) << " " << ranks;
      }
    }
  }
}

TEST(Pattern, AMissingRankShows) {
  std::mt19937 random(2);
  for (std::size_t type = 0; type < data_type_count; ++type) {
    for (const ReduceOp op : {ReduceOp::sum, ReduceOp::prod, ReduceOp::premul_sum}) {
      const PatternKey all{static_cast<DataType>(type), op, 8, 3, length};
      // The last rank's own values are a result without the others.
      const auto alone = values(Pattern::input(all, Rank{7}), all.type);
      EXPECT_GT(Pattern::reduced(all).count_wrong(alone, 0), length / 2) << name_of(all.type);
    }
  }
}

TEST(Pattern, OtherSeedsRanksAndOffsetsAreWrong) {
  const PatternKey key{DataType::float32, ReduceOp::sum, 4, 5, pattern_elements};
  const auto mine = values(Pattern::moved(key, Rank{1}), key.type);
  PatternKey later = key;
  later.seed = 6;
  EXPECT_EQ(Pattern::moved(key, Rank{1}).count_wrong(mine, 0), 0u);
  EXPECT_GT(Pattern::moved(key, Rank{2}).count_wrong(mine, 0), length * 9 / 10);
  EXPECT_GT(Pattern::moved(later, Rank{1}).count_wrong(mine, 0), length * 9 / 10);
  EXPECT_GT(Pattern::moved(key, Rank{1}).count_wrong(mine, 1), length * 9 / 10);
}

TEST(Pattern, CountsWrongElementsNotBytes) {
  const PatternKey key{DataType::float64, ReduceOp::sum, 2, 5, pattern_elements};
  const Pattern pattern = Pattern::reduced(key);
  std::vector<std::byte> bytes(3 * pattern_elements * sizeof(double));
  pattern.fill(bytes, 17);
  EXPECT_EQ(pattern.count_wrong(bytes, 17), 0u);
  for (const std::size_t element : {std::size_t{0}, pattern_elements, 3 * pattern_elements - 1}) {
    bytes[element * sizeof(double)] ^= std::byte{0xff};
    bytes[element * sizeof(double) + 7] ^= std::byte{0x40};
  }
  EXPECT_EQ(pattern.count_wrong(bytes, 17), 3u);
}

TEST(Encode, AgreesWithTheHardwareForFloat) {
  for (const float value : {0.0f, -0.0f, 1.0f, -2.5f, 1e-40f, 3.4e38f, 0.1f}) {
    EXPECT_EQ(encode(DataType::float32, value), std::bit_cast<std::uint32_t>(value)) << value;
  }
}

TEST(Encode, KnowsTheBitsOfSmallFormats) {
  EXPECT_EQ(encode(DataType::float16, 1.0), 0x3c00u);
  EXPECT_EQ(encode(DataType::float16, -2.0), 0xc000u);
  EXPECT_EQ(encode(DataType::float16, 65504.0), 0x7bffu);
  EXPECT_EQ(encode(DataType::float16, 1e6), 0x7c00u);
  EXPECT_EQ(encode(DataType::float16, 6.0e-8), 0x0001u);  // The smallest subnormal.
  EXPECT_EQ(encode(DataType::float16, 2049.0), 0x6800u);  // A tie, to even.
  EXPECT_EQ(encode(DataType::bfloat16, 1.0), 0x3f80u);
  EXPECT_EQ(encode(DataType::f8e4m3, 1.0), 0x38u);
  EXPECT_EQ(encode(DataType::f8e4m3, 448.0), 0x7eu);
  EXPECT_EQ(encode(DataType::f8e4m3, -1000.0), 0xfeu);
  EXPECT_EQ(encode(DataType::f8e5m2, 1.0), 0x3cu);
  EXPECT_EQ(encode(DataType::f8e5m2, 57344.0), 0x7bu);
}

}  // namespace
}  // namespace accl::perf
