// memory_test.cc - memory that users register with the verbs transport: counted, known to every
// device, found without an allocation, and never mistaken for what lay there before.
#include "transport/verbs/memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <random>

#include "tests/transport/member.h"
#include "tests/transport/world.h"
#include "tests/verbs/rig.h"
#include "transport/verbs/verbs.h"

namespace accl::test {
namespace {

using verbs::Registration;
using verbs::RelaxedOrdering;
using verbs::Settings;
using Claim = verbs::Registry::Claim;

constexpr std::size_t page = 4096;

class VerbsMemory : public testing::Test {
 protected:
  void SetUp() override { fake_.set_devices(3); }
  void TearDown() override {
    EXPECT_STREQ(fake_.violation(), "");
    EXPECT_EQ(fake_.living(), 0U) << "objects of libibverbs that nobody ended";
  }

  const FakeVerbs fake_;
  std::vector<std::byte> memory_{std::vector<std::byte>(64 * page)};
  const std::span<std::byte> all_{memory_};
};

TEST_F(VerbsMemory, RangesInsideOneAnotherAreOneRegistration) {
  Rails rails(Settings{});
  rails.add_rails(1);
  verbs::Registry& registry = rails.registry();
  std::optional<Claim> whole(registry.add({.bytes = all_}));
  std::optional<Claim> same(registry.add({.bytes = all_}));
  std::optional<Claim> inner(registry.add({.bytes = all_.subspan(page, page)}));
  EXPECT_EQ(fake_.regions().size(), 1U);
  EXPECT_EQ(&inner->registration(), &whole->registration());
  whole.reset();
  EXPECT_NE(registry.find(all_), nullptr) << "it was added twice";
  same.reset();
  EXPECT_EQ(fake_.regions().size(), 1U);
  EXPECT_EQ(registry.find(all_.subspan(page, page)), &inner->registration());
  EXPECT_EQ(registry.find(all_.subspan(page, page + 1)), nullptr) << "nobody claims the rest";
  inner.reset();
  EXPECT_EQ(fake_.regions().size(), 0U);
  EXPECT_EQ(registry.find(all_.subspan(page, page)), nullptr);
}

// What nobody claims any more may have been unmapped, though a device still knows it.
TEST_F(VerbsMemory, ARangeThatWasDroppedIsRegisteredAnewBesideItsOldInnerPart) {
  Rails rails(Settings{});
  rails.add_rails(1);
  std::optional<Claim> whole(rails.registry().add({.bytes = all_}));
  const Claim inner = rails.registry().add({.bytes = all_.first(page)});
  whole.reset();
  const Claim again = rails.registry().add({.bytes = all_});
  EXPECT_NE(&again.registration(), &inner.registration());
  EXPECT_EQ(fake_.regions().size(), 2U);
}

TEST_F(VerbsMemory, EveryRailHasKeysOfItsOwnAndMayComeAndGo) {
  Rails rails(Settings{});
  rails.add_rails(1);
  verbs::Registry& registry = rails.registry();
  const Claim claim = registry.add({.bytes = all_});
  const Registration& known = claim.registration();
  const std::uint32_t first = known.on(0)->lkey;
  EXPECT_EQ(registry.add_rail(rails.port(1)), 1U);
  ASSERT_NE(known.on(1), nullptr);
  EXPECT_NE(known.on(1)->lkey, first);
  EXPECT_EQ(known.on(1)->pd, rails.port(1).domain());
  registry.drop_rail(0);
  EXPECT_EQ(known.on(0), nullptr) << "a dead device is not written by";
  EXPECT_EQ(fake_.regions().size(), 1U);
  registry.replace_rail(0, rails.port(2));
  ASSERT_NE(known.on(0), nullptr);
  EXPECT_EQ(known.on(0)->pd, rails.port(2).domain());
}

TEST_F(VerbsMemory, ALaterRailThatRefusesIsCopiedOver) {
  Rails rails(Settings{});
  rails.add_rails(1);
  const Claim claim = rails.registry().add({.bytes = all_});
  fake_.fail_call(1, ENOMEM);
  testing::internal::CaptureStderr();
  rails.registry().add_rail(rails.port(1));
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(holds(said, "fake1") && holds(said, "ulimit -l")) << said;
  EXPECT_EQ(claim.registration().on(1), nullptr);
  EXPECT_NE(claim.registration().on(0), nullptr);
}

// Against the plainest search there is.
TEST_F(VerbsMemory, WhatIsFoundIsWhatSomebodyClaims) {
  Rails rails(Settings{});
  rails.add_rails(1);
  std::mt19937 draw(7);
  const auto span = [&] {
    const std::size_t first = draw() % (memory_.size() - 1);
    return all_.subspan(first, 1 + draw() % std::min<std::size_t>(memory_.size() - first, 9000));
  };
  const auto is_inside = [](std::span<const std::byte> inner, std::span<const std::byte> outer) {
    return inner.data() >= outer.data() &&
           inner.data() + inner.size() <= outer.data() + outer.size();
  };
  std::vector<std::optional<Claim>> claims(40);
  for (int round = 0; round < 20'000; ++round) {
    std::optional<Claim>& one = claims[draw() % claims.size()];
    if (round % 4 == 0) {
      if (one) {
        one.reset();
      } else {
        one.emplace(rails.registry().add({.bytes = span()}));
      }
    }
    const auto wanted = span().first(1);
    const auto piece = draw() % 2 == 0 ? wanted : span();
    const Registration* const found = rails.registry().find(piece);
    const bool is_claimed = std::ranges::any_of(
        claims, [&](const auto& claim) { return claim && is_inside(piece, claim->bytes()); });
    ASSERT_EQ(found != nullptr, is_claimed) << "round " << round;
    ASSERT_TRUE(found == nullptr || is_inside(piece, found->bytes()));
  }
}

TEST_F(VerbsMemory, FindingAllocatesNothing) {
  Rails rails(Settings{});
  rails.add_rails(1);
  const Claim one = rails.registry().add({.bytes = all_.first(8 * page)});
  const Claim two = rails.registry().add({.bytes = all_.subspan(16 * page, 8 * page)});
  const AllocationCheck check;
  std::size_t found = 0;
  for (std::size_t at = 0; at + 100 < memory_.size(); at += 100) {
    found += rails.registry().find(all_.subspan(at, 100)) != nullptr;
  }
  EXPECT_GT(found, 600U);
}

// --- Memory that comes and goes ------------------------------------------------------------------

// Pages at an address of one's choice, which a device that knows them keeps.
class Pages {
 public:
  explicit Pages(void* where, std::byte value)
      : data_(static_cast<std::byte*>(::mmap(where, bytes, PROT_READ | PROT_WRITE,
                                             MAP_SHARED | MAP_ANONYMOUS | fixed(where), -1, 0))) {
    EXPECT_NE(static_cast<void*>(data_), MAP_FAILED);
    std::memset(data_, static_cast<int>(value), bytes);
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  ~Pages() { ::munmap(data_, bytes); }
  std::byte* data() const { return data_; }
  std::span<std::byte> span() const { return {data_, bytes}; }

 private:
  static int fixed(const void* where) { return where != nullptr ? MAP_FIXED_NOREPLACE : 0; }
  static constexpr std::size_t bytes = 16 * page;
  std::byte* data_;
};

class VerbsRemapped : public VerbsMemory {
 protected:
  std::byte read(const ibv_mr* region, const std::byte* address) const {
    std::byte value{0xEE};
    EXPECT_TRUE(fake_.read(region->lkey, reinterpret_cast<std::uint64_t>(address), &value, 1));
    return value;
  }
};

TEST_F(VerbsRemapped, OtherMemoryAtTheSameAddressIsOtherMemory) {
  Rails rails(Settings{});
  rails.add_rails(1);
  auto pages = std::make_unique<Pages>(nullptr, std::byte{1});
  std::byte* const address = pages->data();
  std::optional<Claim> claim(rails.registry().add({.bytes = pages->span()}));
  EXPECT_EQ(read(claim->registration().on(0), address), std::byte{1});
  claim.reset();
  pages.reset();
  pages = std::make_unique<Pages>(address, std::byte{2});
  EXPECT_EQ(rails.registry().find(pages->span()), nullptr);
  claim.emplace(rails.registry().add({.bytes = pages->span()}));
  EXPECT_EQ(read(claim->registration().on(0), address + page), std::byte{2});
}

// The negative control: a device really goes on with the old pages.
TEST_F(VerbsRemapped, ADeviceSeesWhatItWasShown) {
  Rails rails(Settings{});
  rails.add_rails(1);
  auto pages = std::make_unique<Pages>(nullptr, std::byte{1});
  std::byte* const address = pages->data();
  const Claim claim = rails.registry().add({.bytes = pages->span()});
  pages.reset();
  pages = std::make_unique<Pages>(address, std::byte{2});
  EXPECT_EQ(read(claim.registration().on(0), address), std::byte{1});
}

// --- Order on PCIe -------------------------------------------------------------------------------

class VerbsOrder : public VerbsMemory {
 protected:
  // Whether memory of users is registered as one that may be written out of order.
  bool is_relaxed(RelaxedOrdering wanted, bool knows_it = true) const {
    verbs::Api api = verbs::Api::load(FakeVerbs::library());
    if (!knows_it) api.reg_mr_iova2 = nullptr;
    Settings settings;
    settings.relaxed_ordering = wanted;
    Rails rails(settings, api);
    rails.add_rails(1);
    const Claim claim = rails.registry().add({.bytes = all_});
    return (fake_.regions().front().access & IBV_ACCESS_RELAXED_ORDERING) != 0;
  }
};

TEST_F(VerbsOrder, IsRelaxedWhereTheLibraryKnowsOfIt) {
  EXPECT_TRUE(is_relaxed(RelaxedOrdering::where_known));
  EXPECT_FALSE(is_relaxed(RelaxedOrdering::where_known, false));
  EXPECT_FALSE(is_relaxed(RelaxedOrdering::never));
  EXPECT_TRUE(is_relaxed(RelaxedOrdering::always));
  const std::string words =
      words_of_error([&] { static_cast<void>(is_relaxed(RelaxedOrdering::always, false)); },
                     ErrorKind::invalid_argument);
  EXPECT_TRUE(holds(words, "ACCL_IB_PCI_RELAXED_ORDERING")) << words;
}

TEST_F(VerbsOrder, IsTheUsersChoice) {
  const auto read = [](const char* value) {
    const auto get = [&](const char* name) {
      return std::strcmp(name, "NCCL_IB_PCI_RELAXED_ORDERING") == 0 ? value : nullptr;
    };
    return verbs::read_settings(get).relaxed_ordering;
  };
  EXPECT_EQ(read(nullptr), RelaxedOrdering::where_known);
  EXPECT_EQ(read("0"), RelaxedOrdering::never);
  EXPECT_EQ(read("1"), RelaxedOrdering::always);
  EXPECT_EQ(read("2"), RelaxedOrdering::where_known);
  const std::string words =
      words_of_error([&] { static_cast<void>(read("3")); }, ErrorKind::invalid_argument);
  EXPECT_TRUE(holds(words, "NCCL_IB_PCI_RELAXED_ORDERING='3'")) << words;
}

TEST_F(VerbsOrder, ADriverThatRefusesItIsAskedWithout) {
  fake_.refuse_relaxed();
  EXPECT_FALSE(is_relaxed(RelaxedOrdering::where_known));
  const std::string words = words_of_error(
      [&] { static_cast<void>(is_relaxed(RelaxedOrdering::always)); }, ErrorKind::system);
  EXPECT_TRUE(holds(words, "Invalid argument")) << words;
}

// --- As users see it -----------------------------------------------------------------------------

constexpr Geometry geometry{.lanes = 2, .ring_bytes = 64 << 10};

std::unique_ptr<Transport> make() {
  return make_verbs_transport(
      geometry, {.shared_object = FakeVerbs::library(), .settings = Settings{}, .uses_all = true});
}

// Puts a payload and gives what arrives.
std::vector<std::byte> send(Joined& here, Joined& there, std::span<const std::byte> payload) {
  const auto bytes = static_cast<std::uint32_t>(payload.size());
  const std::uint32_t until = message_units(bytes);
  EXPECT_TRUE(here.endpoint->put(
      0, {.head = {.bytes = bytes}, .offset = 0, .until = until, .pieces = {&payload, 1}}));
  const Deadline deadline(patience);
  while (there.endpoint->counters(0).arrived->load() != until && !deadline.passed()) {
    here.transport->poll();
    there.transport->poll();
  }
  const std::byte* const at = there.endpoint->inbox(0) + payload_offset(bytes);
  return {at, at + bytes};
}

TEST_F(VerbsRemapped, WhatIsPutFromNewMemoryAtAnOldAddressArrives) {
  auto [here, there] = join_pair(make(), make());
  auto pages = std::make_unique<Pages>(nullptr, std::byte{1});
  std::byte* const address = pages->data();
  std::unique_ptr<Region> region = here.transport->add({.bytes = pages->span()});
  ASSERT_NE(region, nullptr);
  region.reset();
  pages.reset();
  pages = std::make_unique<Pages>(address, std::byte{2});
  region = here.transport->add({.bytes = pages->span()});
  EXPECT_EQ(send(here, there, pages->span().first(5000)),
            std::vector<std::byte>(5000, std::byte{2}));
}

TEST_F(VerbsOrder, OfRingsIsNeverRelaxed) {
  auto [here, there] = join_pair(make(), make());
  const std::unique_ptr<Region> region = here.transport->add({.bytes = all_});
  const std::vector<FakeVerbsRegion> regions = fake_.regions();
  EXPECT_EQ(regions.size(), 2U * 2 + 3)
      << "two ends on a device for each lane, the user's memory on all three";
  for (const FakeVerbsRegion& one : regions) {
    const bool is_users = one.address == reinterpret_cast<std::uint64_t>(memory_.data());
    EXPECT_EQ((one.access & IBV_ACCESS_RELAXED_ORDERING) != 0, is_users);
    EXPECT_NE(one.access & IBV_ACCESS_REMOTE_WRITE, 0);
    EXPECT_EQ(one.access & IBV_ACCESS_REMOTE_READ, 0) << "nobody reads memory of the host";
  }
}

TEST_F(VerbsMemory, ARegionNamesItsMemoryAndOutlivesItsTransport) {
  std::unique_ptr<Transport> transport = make();
  EXPECT_EQ(transport->add({}), nullptr) << "nothing to register";
  const std::unique_ptr<Region> region = transport->add({.bytes = all_.first(100)});
  transport.reset();
  ASSERT_EQ(fake_.regions().size(), 3U);
  const RegionKey key = region->key();
  EXPECT_EQ(key.words[0], reinterpret_cast<std::uint64_t>(memory_.data()));
  EXPECT_EQ(key.words[1], 100U);
  EXPECT_TRUE(fake_.read(static_cast<std::uint32_t>(key.words[2]), key.words[0],
                         std::vector<std::byte>(100).data(), 100));
}

// Each call of making rails and adding memory in turn.
TEST_F(VerbsMemory, WhicheverCallFailsNothingLeaks) {
  std::uint32_t refused = 0;
  bool is_last = false;
  for (std::uint32_t k = 1; !is_last; ++k) {
    fake_.reset();
    fake_.set_devices(3);
    fake_.fail_call(k, ENOMEM);
    try {
      const std::unique_ptr<Transport> transport = make();
      const std::unique_ptr<Region> one = transport->add({.bytes = all_});
      const std::unique_ptr<Region> two = transport->add({.bytes = all_.first(page)});
      is_last = fake_.calls() < k;
    } catch (const Error& error) {
      ++refused;
      EXPECT_NE(std::strstr(error.what(), "verbs"), nullptr) << error.what();
    }
    EXPECT_EQ(fake_.living(), 0U) << "after call " << k << " failed";
  }
  EXPECT_GE(refused, 3U + 3U) << "a device less is no failure, but three registrations are";
}

}  // namespace
}  // namespace accl::test
