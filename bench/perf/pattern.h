// pattern.h - test data whose every combination is exact, so that a wrong element is a wrong bit.
//
// Each rank's input is a pattern of `pattern_elements` values, repeated. Values depend on (rank,
// index, seed): stale data, swapped blocks and shifted offsets all show. The length is a prime, so
// no block size is a multiple of it.
//
// How exactness is kept, whatever order and grouping the sum has:
//   sum, mulsum  Floats: whole numbers so small that the sum over any set of ranks is exact in the
//                type. With more ranks than the type can count, most of them hold 0 at an index,
//                each rank at other indices. Integers wrap, which is exact.
//   prod         Floats: +-1, and at each index at most 4 ranks hold +-2 or +-1/2. Integers: odd,
//                so no factor is ever lost.
//   max, min     Any values.
//   avg          Integers: as sum, without wrapping. Floats: at each index two ranks hold positive
//                whole numbers, the others 0. A division by a number of ranks that is no power of
//                two rounds, before or after the sum, so two units in the last place are allowed
//                there: nccl-tests' rule and numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "accl/base/ids.h"
#include "accl/base/types.h"

namespace accl::perf {

constexpr std::size_t pattern_elements = 16381;

// The same on all ranks.
struct PatternKey {
  DataType type = DataType::float32;
  ReduceOp op = ReduceOp::sum;
  std::uint32_t ranks = 1;
  std::uint64_t seed = 0;
  std::size_t elements = pattern_elements;  // No element behind these is asked for.
};

class Pattern {
 public:
  // What `rank` contributes to a reduction.
  static Pattern input(const PatternKey& key, Rank rank);
  // What the reduction over all ranks gives.
  static Pattern reduced(const PatternKey& key);
  // Bytes of `rank` that are only moved: any bits, NaNs among them.
  static Pattern moved(const PatternKey& key, Rank rank);

  // target[i] = value of element first + i.
  void fill(std::span<std::byte> target, std::size_t first) const;
  // Elements of `actual` that are not the value of element first + i.
  std::uint64_t count_wrong(std::span<const std::byte> actual, std::size_t first) const;

 private:
  Pattern(const PatternKey& key, unsigned tolerance_ulps);
  std::uint64_t count_wrong_run(std::span<const std::byte> actual, std::size_t from) const;

  std::size_t width_;
  unsigned tolerance_ulps_;
  std::vector<std::byte> bytes_;  // The period, or its beginning.
};

// The factor that `rank` passes to mulsum: 1 or 2, so that a rank that uses another's is seen.
constexpr int premul_factor(Rank rank) { return 1 + static_cast<int>(index(rank) % 2); }

// The bits of `value` in this floating type, rounded to nearest even; what is too large becomes the
// type's infinity, or its largest number where it has none.
std::uint64_t encode(DataType type, double value);

}  // namespace accl::perf
