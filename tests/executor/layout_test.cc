// layout_test.cc - chunks and slices cover every element once, for awkward numbers.
#include "accl/layout.h"

#include <gtest/gtest.h>

#include <numeric>

namespace accl::testing {
namespace {

// How often each element of [0, elements) is in a piece.
std::vector<int> coverage(const Layout& layout, std::uint32_t chunks, std::size_t elements) {
  std::vector<int> times(elements);
  for (std::uint32_t s = 0; s < layout.slices(); ++s) {
    for (std::uint32_t c = 0; c < chunks; ++c) {
      const Range range = layout.piece(c, s);
      EXPECT_LE(range.count, layout.largest_piece());
      for (std::size_t i = 0; i < range.count; ++i) ++times.at(range.begin + i);
    }
  }
  return times;
}

TEST(Whole, CoversEveryElementOnce) {
  for (const std::size_t elements : {0u, 1u, 2u, 7u, 64u, 1000u, 1009u}) {
    for (const std::uint32_t chunks : {1u, 2u, 3u, 7u, 8u, 64u}) {
      for (const std::size_t per_chunk : {1u, 3u, 16u, 5000u}) {
        const Layout layout = Layout::whole(elements, chunks, per_chunk);
        EXPECT_EQ(coverage(layout, chunks, elements), std::vector<int>(elements, 1));
        EXPECT_LE(layout.largest_piece(), per_chunk);
      }
    }
  }
}

// A message of hd is half of the chunks: its slice must be as many chunks long as the plan has.
TEST(Whole, SlicesAreAsLongAsAllTheirPieces) {
  const Layout layout = Layout::whole(6400, 64, 50);
  EXPECT_EQ(layout.slices(), 2u);
  EXPECT_EQ(layout.largest_piece(), 50u);
  EXPECT_EQ(layout.piece(0, 1).begin, 3200u);
}

TEST(Blocks, CoverEveryElementOnceUnderAnyOrder) {
  const std::vector<Rank> order{Rank{2}, Rank{0}, Rank{1}};
  for (const std::size_t elements : {1u, 5u, 100u}) {
    for (const std::uint32_t each : {1u, 2u, 4u}) {
      for (const std::size_t piece : {1u, 3u, 1000u}) {
        const Layout layout = Layout::blocks(elements, 3 * each, 3, piece, order);
        EXPECT_EQ(coverage(layout, 3 * each, 3 * elements), std::vector<int>(3 * elements, 1));
        EXPECT_EQ(layout.piece(0, 0).begin, 2 * elements);  // Position 0 is rank 2's block.
      }
    }
  }
}

TEST(Extents, LieWhereTheCallerSays) {
  const std::vector<std::size_t> counts{3, 0, 5}, offsets{10, 0, 20};
  const Layout layout = Layout::extents(counts, offsets, 2, {});
  EXPECT_EQ(layout.slices(), 3u);
  EXPECT_EQ(layout.piece(0, 1).begin, 12u);
  EXPECT_EQ(layout.piece(0, 1).count, 1u);
  EXPECT_EQ(layout.piece(1, 0).count, 0u);
  EXPECT_EQ(layout.piece(2, 2).begin, 24u);
  EXPECT_EQ(layout.piece(2, 2).count, 1u);
}

}  // namespace
}  // namespace accl::testing
