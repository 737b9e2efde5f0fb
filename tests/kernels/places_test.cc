// Results do not depend on where data lies, how much of it there is, or where a call is cut; and
// no byte outside the operands is read or written.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "accl/kernels/kernels.h"
#include "accl/kernels/targets.h"
#include "tests/kernels/reference.h"

namespace accl::testing {
namespace {

using kernels::available_kernels;

constexpr std::size_t guard_bytes = 128;
constexpr std::uint8_t guard = 0xC3;

// A copy of some bytes at a chosen offset from a cache line, between guards.
class Placed {
 public:
  Placed(const std::uint8_t* data, std::size_t bytes, std::size_t offset)
      : storage_(bytes + 2 * guard_bytes + 128, guard), bytes_(bytes) {
    const auto start = reinterpret_cast<std::uintptr_t>(storage_.data()) + guard_bytes;
    begin_ = guard_bytes + (-start & 63) + offset;
    if (bytes > 0) std::memcpy(this->data(), data, bytes);
  }
  std::uint8_t* data() { return storage_.data() + begin_; }
  bool guards_hold() const {
    const auto is_guard = [](std::uint8_t byte) { return byte == guard; };
    const auto begin = storage_.begin() + static_cast<std::ptrdiff_t>(begin_);
    return std::all_of(storage_.begin(), begin, is_guard) &&
           std::all_of(begin + static_cast<std::ptrdiff_t>(bytes_), storage_.end(), is_guard);
  }

 private:
  Bytes storage_;
  std::size_t bytes_;
  std::size_t begin_;
};

// A run of bytes with a page that must not be touched right before or right after it.
class Fenced {
 public:
  Fenced() : page_bytes_(static_cast<std::size_t>(sysconf(_SC_PAGESIZE))) {
    void* map = mmap(nullptr, 3 * page_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) throw std::bad_alloc();
    map_ = static_cast<std::uint8_t*>(map);
    if (mprotect(map_ + page_bytes_, page_bytes_, PROT_READ | PROT_WRITE) != 0) {
      throw std::bad_alloc();
    }
  }
  Fenced(const Fenced&) = delete;
  Fenced& operator=(const Fenced&) = delete;
  ~Fenced() { munmap(map_, 3 * page_bytes_); }

  std::uint8_t* place(std::size_t bytes, bool at_end) {
    return map_ + page_bytes_ + (at_end ? page_bytes_ - bytes : 0);
  }

 private:
  std::size_t page_bytes_;
  std::uint8_t* map_;
};

// A way to run a kernel.
struct Mode {
  const kernels::KernelSet& set;
  Store store;
};

std::vector<Mode> all_modes() {
  std::vector<Mode> modes;
  for (const auto& set : available_kernels()) {
    for (const Store store : {Store::cached, Store::stream}) modes.push_back({set, store});
  }
  return modes;
}

struct Case {
  DataType type;
  ReduceOp op;
};

class Places : public ::testing::TestWithParam<Case> {
 protected:
  static constexpr std::size_t count = 20'011;

  Places()
      : a_(mixed_values(type(), count, 6)),
        b_(mixed_values(type(), count, 7)),
        want_(reference_reduce(type(), op(), a_, b_)) {}

  static DataType type() { return GetParam().type; }
  static ReduceOp op() { return GetParam().op; }
  static std::size_t bytes(std::size_t elements) { return elements * size_of(type()); }

  struct Place {
    std::size_t first, count;  // Which elements.
    std::size_t target, a, b;  // Offsets from a cache line.
  };

  // Outside of its operands' own memory.
  void expect_right(const kernels::KernelSet& set, Place place, Store store) const {
    Placed target(a_.data(), bytes(place.count), place.target);
    std::memset(target.data(), 0x5A, bytes(place.count));
    Placed a(a_.data() + bytes(place.first), bytes(place.count), place.a);
    Placed b(b_.data() + bytes(place.first), bytes(place.count), place.b);
    set.reduction(type(), op())(target.data(), a.data(), b.data(), place.count, store);
    const auto* want = want_.data() + bytes(place.first);
    ASSERT_EQ(difference(type(), target.data(), want, place.count), "") << describe(set, place);
    ASSERT_TRUE(target.guards_hold() && a.guards_hold() && b.guards_hold()) << describe(set, place);
  }

  static std::string describe(const kernels::KernelSet& set, const Place& place) {
    return std::string(set.name) + " offsets " + std::to_string(place.target) + " " +
           std::to_string(place.a) + " " + std::to_string(place.b) + " count " +
           std::to_string(place.count);
  }

  // `target` is a, then b, then both.
  void expect_in_place(const Mode& mode, std::size_t offset, std::size_t n,
                       const Bytes& doubled) const {
    const ReduceKernel kernel = mode.set.reduction(type(), op());
    Placed a(a_.data(), bytes(n), offset), b(b_.data(), bytes(n), 5);
    kernel(a.data(), a.data(), b.data(), n, mode.store);
    ASSERT_EQ(difference(type(), a.data(), want_.data(), n), "") << mode.set.name;
    Placed again(a_.data(), bytes(n), 7), target(b_.data(), bytes(n), offset);
    kernel(target.data(), again.data(), target.data(), n, mode.store);
    ASSERT_EQ(difference(type(), target.data(), want_.data(), n), "") << mode.set.name;
    Placed all(a_.data(), bytes(n), offset);
    kernel(all.data(), all.data(), all.data(), n, mode.store);
    ASSERT_EQ(difference(type(), all.data(), doubled.data(), n), "") << mode.set.name;
  }

  Bytes a_, b_, want_;
};

TEST_P(Places, EveryCount) {
  for (const auto& [set, store] : all_modes()) {
    for (std::size_t n = 0; n <= 200; ++n) expect_right(set, {n, n, 0, 0, 0}, store);
    for (const std::size_t n : {1023, 4099, 20'011}) {
      expect_right(set, {0, n, 0, 0, 0}, store);
      expect_right(set, {0, n, size_of(type()), 3, 1}, store);
    }
  }
}

TEST_P(Places, EveryAlignment) {
  std::mt19937 random(8);
  const auto other = [&] { return static_cast<std::size_t>(random() % 64); };
  for (const auto& [set, store] : all_modes()) {
    for (std::size_t offset = 0; offset < 64; ++offset) {
      // From a few vectors to well beyond where streaming sets in.
      const std::size_t n = 1 + random() % (6000 / size_of(type()));
      const std::size_t first = random() % 1000;
      expect_right(set, {first, n, offset, other(), other()}, store);
      expect_right(set, {first, n, other(), offset, other()}, store);
      expect_right(set, {first, n, other(), other(), offset}, store);
    }
  }
}

TEST_P(Places, TargetIsASource) {
  const Bytes doubled = reference_reduce(type(), op(), a_, a_);
  for (const Mode& mode : all_modes()) {
    for (const std::size_t offset : {0u, 1u, 8u, 40u}) {
      for (const std::size_t n : {std::size_t{13}, std::size_t{333}, count}) {
        expect_in_place(mode, offset, n, doubled);
      }
    }
  }
}

TEST_P(Places, CutAnywhere) {
  std::mt19937 random(9);
  for (const auto& [set, store] : all_modes()) {
    Bytes got(want_.size(), guard);
    for (std::size_t at = 0; at < count;) {
      const std::size_t most = random() % 2 == 0 ? 20 : 3000;
      const std::size_t n = std::min(count - at, static_cast<std::size_t>(random() % most));
      set.reduction(type(), op())(got.data() + bytes(at), a_.data() + bytes(at),
                                  b_.data() + bytes(at), n, store);
      at += n;
    }
    ASSERT_EQ(difference(type(), got.data(), want_.data(), count), "") << set.name;
  }
}

TEST_P(Places, TouchesNothingElse) {
  Fenced target, a, b;
  for (const auto& set : available_kernels()) {
    for (const bool at_end : {false, true}) {
      for (std::size_t n = 0; n <= 300; n += n < 140 ? 1 : 13) {
        auto* to = target.place(bytes(n), at_end);
        auto* x = a.place(bytes(n), at_end);
        auto* y = b.place(bytes(n), at_end);
        std::memcpy(x, a_.data(), bytes(n));
        std::memcpy(y, b_.data(), bytes(n));
        set.reduction(type(), op())(to, x, y, n, Store::stream);
        ASSERT_EQ(difference(type(), to, want_.data(), n), "") << set.name << " count " << n;
      }
    }
  }
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const DataType type : all_types) {
    for (const ReduceOp op : arithmetic_ops) cases.push_back({type, op});
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Types, Places, ::testing::ValuesIn(all_cases()), [](const auto& info) {
  return std::string(name_of(info.param.type)) + "_" + std::string(name_of(info.param.op));
});

TEST(Copy, AnyBytesAnywhere) {
  std::mt19937 random(10);
  const Bytes data = mixed_values(DataType::uint8, 20'011, 11);
  for (std::size_t i = 0; i < 3000; ++i) {
    const std::size_t n = i < 300 ? i : random() % data.size();
    const std::size_t first = random() % (data.size() - n + 1);
    Placed source(data.data() + first, n, random() % 64);
    const auto expect_copied = [&](auto copy, const char* how) {
      Placed target(data.data(), n, i % 64);
      if (n > 0) std::memset(target.data(), 0x5A, n);
      copy(target.data(), source.data(), n);
      ASSERT_EQ(difference(DataType::uint8, target.data(), data.data() + first, n), "") << how;
      ASSERT_TRUE(target.guards_hold() && source.guards_hold()) << how;
    };
    for (const auto& set : available_kernels()) expect_copied(set.copy, set.name);
    for (const Store store : {Store::cached, Store::stream}) {
      const auto copy = [&](void* to, const void* from, std::size_t bytes) {
        copy_bytes(to, from, bytes, store);
      };
      expect_copied(copy, "copy_bytes");
    }
  }
}

}  // namespace
}  // namespace accl::testing
