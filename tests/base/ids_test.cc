#include "accl/base/ids.h"

#include <gtest/gtest.h>

#include <type_traits>

#include "accl/base/memory.h"

namespace accl {
namespace {

// What must not compile at all is in tests/style/must_not_compile/.
static_assert(!std::is_convertible_v<Rank, Position> && !std::is_convertible_v<Rank, int>);
static_assert(!std::is_convertible_v<int, Rank> && !std::is_constructible_v<Rank, Position>);

TEST(Ids, KeepTheirNumber) {
  EXPECT_EQ(index(Rank{7}), 7U);
  EXPECT_EQ(index(Position{0xffffffffU}), 0xffffffffU);
  EXPECT_EQ(index(Rank{}), 0U);
}

TEST(Ids, CompareAmongTheirOwnKind) {
  EXPECT_LT(Rank{1}, Rank{2});
  EXPECT_EQ(Position{5}, Position{5});
}

TEST(Memory, IsHostMemoryOfNoDeviceUnlessSaid) {
  std::byte bytes[16];
  const Memory memory{bytes};
  EXPECT_EQ(memory.bytes.data(), bytes);
  EXPECT_EQ(memory.bytes.size(), sizeof bytes);
  EXPECT_EQ(memory.kind, MemoryKind::host);
  EXPECT_EQ(memory.device, -1);
  EXPECT_EQ(memory.file, -1);
}

}  // namespace
}  // namespace accl
