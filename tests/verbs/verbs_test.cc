// verbs_test.cc - what only the verbs transport has: settings, the choice of a GID, and what it
// asks of libibverbs, in which order, over a fake one that can be told to fail.
#include "transport/verbs/verbs.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "accl/base/error.h"
#include "accl/base/text_file.h"
#include "accl/lane.h"
#include "tests/verbs/over_fake.h"
#include "transport/verbs/port.h"
#include "transport/verbs/queue.h"
#include "transport/verbs/words.h"

namespace accl::test {
namespace {

using verbs::GidEntry;
using verbs::Settings;

// --- Immediate values ------------------------------------------------------------------------

// What comes back of a saying that is so far ahead of what its receiver knows.
void expect_same(std::uint32_t ring, std::uint32_t arrived, std::uint32_t freed,
                 verbs::Saying said) {
  const verbs::Immediates immediates(ring);
  const verbs::Saying got = immediates.unpack(immediates.pack(said), arrived, freed);
  EXPECT_EQ(got.until, said.until) << ring;
  EXPECT_EQ(got.freed, immediates.tells_freed() ? said.freed : freed) << ring;
  EXPECT_EQ(got.is_placed, said.is_placed) << ring;
}

// At both edges of what may be told at a time, and across the end of what 32 bits count.
TEST(VerbsImmediates, BothPositionsComeBackAtTheirEdges) {
  constexpr std::uint32_t kib = 1024, mib = 1024 * kib;
  for (const std::uint32_t ring : {4 * kib, 12 * kib, 520192U, mib, 2 * mib - 4 * kib, 2 * mib}) {
    EXPECT_EQ(verbs::Immediates(ring).tells_freed(), ring < 2 * mib);
    const std::uint32_t units = ring / ring_unit_bytes;
    for (const std::uint32_t at : {0U, 7U, 0U - units, 0U - 1}) {
      expect_same(ring, at, at + 9, {at + 1, at + 9, true});
      expect_same(ring, at, at + 9, {at + units, at + 9 + units, false});
      expect_same(ring, at + 9, at, {at + 9 + units / 2, at + 1, true});
      expect_same(ring, at + 9, at, {at + 9 + units, at + units, true});
    }
  }
}

TEST(VerbsImmediates, WhatAnotherWayToldAlreadyIsNoNews) {
  const verbs::Immediates immediates(1 << 20);
  for (const std::uint32_t behind : {1U, 100U, (1U << 14) - 1}) {
    const std::uint32_t value = immediates.pack({50, 20'000 - behind, false});
    EXPECT_EQ(immediates.unpack(value, 49, 20'000).freed, 20'000U);
  }
}

// --- Settings ------------------------------------------------------------------------------------

TEST(VerbsSettings, OurNamesWinOverNccls) {
  const Settings settings =
      settings_of({{"ACCL_IB_TC", "106"}, {"NCCL_IB_TC", "3"}, {"NCCL_IB_SL", "5"}});
  EXPECT_EQ(settings.traffic_class, 106);
  EXPECT_EQ(settings.service_level, 5);
  EXPECT_EQ(settings.gid_index, -1);
  EXPECT_EQ(settings.roce_version, 2);
}

TEST(VerbsSettings, DevicesAreChosenAsNcclDoes) {
  struct Row {
    const char* filter;
    const char* device;
    int port;
    bool is_admitted;
  };
  for (const Row& row : {Row{"", "mlx5_0", 1, true},
                         {"mlx5", "mlx5_10", 2, true},
                         {"mlx5_1", "mlx5_10", 1, true},
                         {"=mlx5_1", "mlx5_10", 1, false},
                         {"=mlx5_1,mlx5_10", "mlx5_10", 1, true},
                         {"mlx5_0:2", "mlx5_0", 1, false},
                         {"mlx5_0:2", "mlx5_0", 2, true},
                         {"^mlx5_0", "mlx5_0", 1, false},
                         {"^mlx5_0", "mlx5_1", 1, true},
                         {"^=mlx5_1", "mlx5_10", 1, true},
                         {"mlx5_0:1:3:2", "mlx5_0", 1, true}}) {
    const Settings settings = settings_of({{"NCCL_IB_HCA", row.filter}});
    EXPECT_EQ(settings.devices.admits(row.device, row.port), row.is_admitted)
        << row.filter << " " << row.device << ":" << row.port;
  }
}

TEST(VerbsSettings, WhatCannotBeIsNamedWithWhatCan) {
  struct Row {
    const char* variable;
    const char* value;
    const char* says;
  };
  for (const Row& row : {Row{"ACCL_IB_TC", "256", "0 to 255"},
                         {"NCCL_IB_TIMEOUT", "soon", "1 to 31"},
                         {"ACCL_IB_MTU", "1500", "4096"},
                         {"ACCL_IB_HCA", "mlx5_0:one", "device names"},
                         {"NCCL_IB_ADDR_FAMILY", "IPv4", "AF_INET6"},
                         {"NCCL_IB_ADDR_RANGE", "10.0.0.0", "/32"},
                         {"NCCL_IB_ADDR_RANGE", "ten/8", "10.1.0.0/16"},
                         {"ACCL_IB_POST", "new", "auto, wr or classic"},
                         {"ACCL_IB_FLOW_LABELS", "1,2,1048576", "1048575"}}) {
    try {
      static_cast<void>(settings_of({{row.variable, row.value}}));
      ADD_FAILURE() << "took " << row.variable << "=" << row.value;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
      EXPECT_NE(std::strstr(error.what(), row.variable), nullptr) << error.what();
      EXPECT_NE(std::strstr(error.what(), row.says), nullptr) << error.what();
    }
  }
}

GidEntry entry(int index, const char* address, int version) {
  GidEntry entry{.index = index, .roce_version = version};
  const std::string mapped =
      std::strchr(address, ':') != nullptr ? address : std::string("::ffff:") + address;
  EXPECT_EQ(inet_pton(AF_INET6, mapped.c_str(), entry.gid.data()), 1) << mapped;
  return entry;
}

TEST(VerbsGid, RoceTwoOverIpv4IsTakenUnlessTheUserWantsAnother) {
  const std::vector<GidEntry> table{entry(0, "fe80::1", 1),     entry(1, "fe80::1", 2),
                                    entry(2, "10.1.0.5", 1),    entry(3, "10.1.0.5", 2),
                                    entry(4, "2001:db8::5", 2), entry(5, "10.2.0.5", 2)};
  struct Row {
    Environment environment;
    int index;
  };
  for (const Row& row : {Row{{}, 3},
                         {{{"NCCL_IB_ROCE_VERSION_NUM", "1"}}, 2},
                         {{{"NCCL_IB_ADDR_FAMILY", "AF_INET6"}}, 4},
                         {{{"NCCL_IB_ADDR_RANGE", "10.2.0.0/16"}}, 5},
                         {{{"NCCL_IB_ADDR_RANGE", "fe80::/10"}}, 1}}) {
    const GidEntry* const chosen = choose_gid(table, settings_of(row.environment));
    ASSERT_NE(chosen, nullptr);
    EXPECT_EQ(chosen->index, row.index);
  }
  EXPECT_EQ(choose_gid(table, settings_of({{"NCCL_IB_ADDR_RANGE", "10.3.0.0/16"}})), nullptr);
  EXPECT_EQ(verbs::text_of(table[3].gid), "10.1.0.5");
  EXPECT_EQ(verbs::text_of(table[4].gid), "2001:db8::5");
}

TEST(Verbs, WhereItIsMissingOneSentenceSaysWhatToDo) {
  try {
    static_cast<void>(make_verbs_transport(geometry, {.shared_object = "libno-such-verbs.so.1"}));
    FAIL() << "made a transport of nothing";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::system);
    const std::string text = error.what();
    for (const char* const word : {"libno-such-verbs.so.1", "apt-get install", "libibverbs1"}) {
      EXPECT_NE(text.find(word), text.npos) << text;
    }
    EXPECT_EQ(text.find('\n'), text.npos) << text;
  }
}

// --- Over the fake -------------------------------------------------------------------------------

TEST_F(VerbsFake, TinyMessagesGoAlongWithTheRequestAndAreSeldomSignalled) {
  auto [here, there] = join(make(), make());
  Ring ring(geometry.ring_bytes);
  fake_.reset();
  const std::uint32_t count = fill(*here.endpoint, ring, 112);
  EXPECT_EQ(count, verbs::send_depth) << "the queue holds so many";
  FakeVerbsCounts counts = fake_.counts();
  EXPECT_EQ(counts.doorbells, count);
  EXPECT_EQ(counts.requests, count);
  EXPECT_EQ(counts.inlined, count);
  here.transport->poll();
  counts = fake_.counts();
  EXPECT_EQ(counts.completions, count / verbs::signal_every);
  poll_until_arrived(there, ring.position());
}

// Nobody reads: the window closes before the peer's receives are used up, and opens by releases.
TEST_F(VerbsFake, NoMoreIsUnderWayThanThePeerHasReceivesFor) {
  auto [here, there] = join(make(), make());
  Ring ring(geometry.ring_bytes);
  std::uint32_t count = 0;
  for (int i = 0; i < 20; ++i) {
    count += fill(*here.endpoint, ring, 8);
    here.transport->poll();
  }
  EXPECT_EQ(count, verbs::message_window);
  poll_until_arrived(there, ring.position());
  there.endpoint->release(0, ring.position());
  there.transport->poll();
  here.transport->poll();
  EXPECT_GT(fill(*here.endpoint, ring, 8), 0U);
  here.transport->poll();
  there.transport->poll();
}

TEST_F(VerbsFake, AReleaseTravelsWithTheNextMessage) {
  auto [here, there] = join(make(), make());
  Ring ring(geometry.ring_bytes);
  Ring back(geometry.ring_bytes);
  ASSERT_GT(fill(*here.endpoint, ring, 8), 0U);
  poll_until_arrived(there, ring.position());
  ASSERT_TRUE(there.endpoint->tells_along());
  fake_.reset();
  const Place place = back.next(0);
  ASSERT_TRUE(there.endpoint->put(0, Parcel{.head = {},
                                            .offset = place.offset,
                                            .until = place.until,
                                            .pieces = {},
                                            .freed = ring.position()}));
  there.transport->poll();
  EXPECT_EQ(fake_.counts().requests, 1U);
  here.transport->poll();
  EXPECT_TRUE(reached(here.endpoint->counters(0).released, ring.position()));
  EXPECT_TRUE(reached(here.endpoint->counters(0).arrived, place.until));
}

// What was read travels along, however much it is and however long a rank waits.
TEST_F(VerbsFake, APingPongIsOneRequestAMessage) {
  static_assert(Lane::told_late_messages <= verbs::message_window, "or a sender waits for ever");
  auto [here, there] = join(make(), make());
  std::array lanes{Lane(*here.endpoint, 0, geometry), Lane(*there.endpoint, 0, geometry)};
  std::array transports{here.transport.get(), there.transport.get()};
  constexpr std::uint32_t bytes = 6000;  // Three of them are a quarter of the ring.
  const std::vector<std::byte> payload(bytes);
  const std::span<const std::byte> piece(payload);
  constexpr std::uint32_t messages = 100;
  fake_.reset();
  for (std::uint32_t i = 0; i < messages; ++i) {
    Lane& from = lanes[i % 2];
    Lane& to = lanes[1 - i % 2];
    ASSERT_TRUE(from.has_room(bytes));
    ASSERT_TRUE(from.send({.tag = 1, .bytes = bytes}, {&piece, 1}));
    for (int k = 0; k < 2000; ++k) transports[1 - i % 2]->poll();
    ASSERT_NE(to.arrived(bytes), nullptr);
    to.release(bytes, false);
    static_cast<void>(transports[1 - i % 2]->arm());
    transports[1 - i % 2]->disarm();
  }
  EXPECT_EQ(fake_.counts().requests, messages);
}

TEST_F(VerbsFake, AReleaseIsToldBeforeSleeping) {
  auto [here, there] = join(make(), make());
  const std::vector<std::byte> payload(8);
  const std::span<const std::byte> piece(payload);
  const std::uint32_t until = message_units(8);
  ASSERT_TRUE(here.endpoint->put(
      0, {.head = {.bytes = 8}, .offset = 0, .until = until, .pieces = {&piece, 1}}));
  poll_until_arrived(there, until);
  there.endpoint->release(0, until);
  static_cast<void>(there.transport->arm());
  there.transport->disarm();
  here.transport->poll();
  EXPECT_TRUE(reached(here.endpoint->counters(0).released, until));
}

// Fails every call of setting up, joining, carrying and ending in turn. Whatever it is, an Error or
// a broken connection with words follows, in time, and nothing is left behind.
TEST_F(VerbsFake, WhicheverCallFailsNothingHangsAndNothingLeaks) {
  std::uint32_t refused = 0, broke = 0, went_on = 0;
  bool is_last = false;
  for (std::uint32_t k = 1; !is_last; ++k) {
    fake_.reset();
    fake_.fail_call(k, ENOMEM);
    try {
      auto [here, there] = join(make(no_failover), make(no_failover));
      const std::string text = carry(here, there);
      is_last = fake_.calls() < k;
      ++(text.empty() ? went_on : broke);
      EXPECT_TRUE(text.empty() || text.find("rank ") != text.npos) << text;
    } catch (const Error& error) {
      ++refused;
      EXPECT_NE(std::strstr(error.what(), "verbs"), nullptr) << error.what();
    }
    EXPECT_EQ(fake_.living(), 0U) << "after call " << k << " failed";
  }
  EXPECT_GT(refused, 20U);
  EXPECT_GT(broke, 20U);
  // A queue that is refused is asked for with less inline; and the last one had no call to fail.
  EXPECT_EQ(went_on, 2 * geometry.lanes + 1);
}

// It may be the one that waits, and would hear no more than that the connection was closed.
TEST_F(VerbsFake, ThePeerHearsWhyAConnectionEnded) {
  auto [here, there] = join(make(no_failover), make(no_failover));
  Ring ring(geometry.ring_bytes);
  fake_.break_request(3, IBV_WC_RETRY_EXC_ERR, 0);
  static_cast<void>(fill(*here.endpoint, ring, 8));
  for (const Deadline deadline(patience); !there.endpoint->broken() && !deadline.passed();) {
    here.transport->poll();
    there.transport->poll();
  }
  const std::string text = there.endpoint->failure();
  for (const char* const word : {"rank 0", "closed by it", "retry counter exceeded", "status 12"}) {
    EXPECT_NE(text.find(word), text.npos) << word << " in: " << text;
  }
}

TEST_F(VerbsFake, ARequestThatEndsBadlyIsToldInWords) {
  auto [here, there] = join(make(no_failover), make(no_failover));
  Ring ring(geometry.ring_bytes);
  fake_.break_request(3, IBV_WC_RETRY_EXC_ERR, 0);
  static_cast<void>(fill(*here.endpoint, ring, 8));
  for (const Deadline deadline(patience); !here.endpoint->broken() && !deadline.passed();) {
    here.transport->poll();
  }
  ASSERT_TRUE(here.endpoint->broken());
  const std::string text = here.endpoint->failure();
  for (const char* const word : {"rank 1", "retry counter exceeded", "status 12", "fake0 port 1",
                                 "192.0.2.1", "lane 0", "GID"}) {
    EXPECT_NE(text.find(word), text.npos) << word << " in: " << text;
  }
  EXPECT_EQ(fill(*here.endpoint, ring, 8), 0U);
}

TEST_F(VerbsFake, ADeviceThatDiesEndsItsConnections) {
  auto [here, there] = join(make(no_failover), make(no_failover));
  fake_.raise(IBV_EVENT_PORT_ERR);  // A flap: the queues ride it out.
  step(here, there);
  for (const Deadline grace(Milliseconds(300)); !grace.passed();) {
    here.transport->poll();
    there.transport->poll();
  }
  EXPECT_FALSE(here.endpoint->broken() || there.endpoint->broken());
  fake_.raise(IBV_EVENT_DEVICE_FATAL);
  const auto words = [&] { return here.endpoint->failure() + there.endpoint->failure(); };
  for (const Deadline deadline(patience); words().empty() && !deadline.passed();) {
    here.transport->poll();
    there.transport->poll();
  }
  EXPECT_NE(words().find("local catastrophic error"), std::string::npos) << words();
}

TEST_F(VerbsFake, LanesTakeTheDevicesInTurnAndHaveLabelsOfTheirOwn) {
  fake_.set_devices(2);
  auto [here, there] = join(make({}, true), make({}, true));
  EXPECT_NE(here.endpoint->path().find("fake0"), std::string::npos) << here.endpoint->path();
  std::array<std::uint32_t, 4> labels{};
  ASSERT_EQ(fake_.labels(labels.data(), labels.size()), 4U);
  const std::uint32_t half = 1 << 13;
  for (const std::uint32_t label : labels) EXPECT_LT(label, 2 * half);
  EXPECT_EQ(std::ranges::count_if(labels, [&](std::uint32_t label) { return label < half; }), 2);
}

TEST_F(VerbsFake, LabelsAndDevicesAreTheUsersChoice) {
  fake_.set_devices(3);
  const Environment environment{{"ACCL_IB_FLOW_LABELS", "7,9"}, {"ACCL_IB_HCA", "fake1,fake2"}};
  auto [here, there] = join(make(environment, false, 0), make(environment, false, 3));
  EXPECT_NE(here.endpoint->path().find("fake1 port 1, GID 1 (192.0.2.2) to 192.0.2.3"),
            std::string::npos)
      << here.endpoint->path();
  std::array<std::uint32_t, 4> labels{};
  ASSERT_EQ(fake_.labels(labels.data(), labels.size()), 4U);
  std::ranges::sort(labels);
  EXPECT_EQ(labels, (std::array<std::uint32_t, 4>{7, 7, 9, 9}));
}

// Two queues each way, of which each knows its own direction; what is set by hand wins.
TEST_F(VerbsFake, LanesArePinnedToKnownPaths) {
  fake_.set_devices(2);
  const std::string file = testing::TempDir() + "/verbs-test-paths.json";
  write_text(file, R"({"version": 1, "pairs": [
    {"from": "192.0.2.1", "to": "192.0.2.2", "classes": [{"labels": [11]}, {"labels": [12, 13]}]},
    {"from": "192.0.2.2", "to": "192.0.2.1", "classes": [{"labels": [21]}, {"labels": [22]}]}]})");
  const auto labels_under = [&](const Environment& environment,
                                const std::vector<std::uint32_t>& network_paths) {
    fake_.reset();
    fake_.set_devices(2);
    const auto one = [&](std::uint32_t turn) {
      return make_verbs_transport(geometry, {.shared_object = library(),
                                             .settings = settings_of(environment),
                                             .turn = turn,
                                             .network_paths = network_paths});
    };
    auto [here, there] = join(one(0), one(1));
    std::vector<std::uint32_t> labels(2 * geometry.lanes);
    EXPECT_EQ(fake_.labels(labels.data(), geometry.lanes * 2), labels.size());
    std::ranges::sort(labels);
    return labels;
  };
  using Labels = std::vector<std::uint32_t>;
  EXPECT_EQ(labels_under({{"ACCL_IB_PATHS", file}}, {}), (Labels{11, 12, 21, 22}));
  EXPECT_EQ(labels_under({{"ACCL_IB_PATHS", file}}, {1, 1}), (Labels{12, 13, 22, 22}));
  const Environment by_hand{{"ACCL_IB_PATHS", file}, {"ACCL_IB_FLOW_LABELS", "7"}};
  EXPECT_EQ(labels_under(by_hand, {}), (Labels{7, 7, 7, 7}));
}

TEST_F(VerbsFake, TheDeviceThatAMapNamesIsTakenWhereItIs) {
  fake_.set_devices(3);
  for (const auto& [device, taken] :
       {std::pair{"fake2", "fake2"}, std::pair{"mlx5_0", "fake1"}, std::pair{"", "fake1"}}) {
    const auto one = [&] {
      return make_verbs_transport(
          geometry,
          {.shared_object = library(), .settings = settings_of({}), .device = device, .turn = 4});
    };
    auto [here, there] = join(one(), one());
    EXPECT_EQ(here.endpoint->path().find(taken), 0U) << here.endpoint->path();
  }
}

TEST_F(VerbsFake, ASecondPortCanBeChosen) {
  fake_.set_ports(2);
  const Environment environment{{"ACCL_IB_HCA", "fake0:2"}};
  auto [here, there] = join(make(environment), make(environment));
  EXPECT_NE(here.endpoint->path().find("fake0 port 2"), std::string::npos) << here.endpoint->path();
}

// The second device has no address in the range; the first one has.
TEST_F(VerbsFake, ADeviceThatDoesNotFitIsLeftOut) {
  fake_.set_devices(2);
  const Environment environment{{"ACCL_IB_ADDR_RANGE", "192.0.2.1/32"}};
  for (const std::uint32_t turn : {0U, 1U}) {
    auto [here, there] = join(make(environment, false, turn), make(environment, false, turn));
    EXPECT_NE(here.endpoint->path().find("fake0"), std::string::npos) << here.endpoint->path();
  }
  try {
    static_cast<void>(make({{"ACCL_IB_ADDR_RANGE", "10.0.0.0/8"}}));
    FAIL() << "found a port";
  } catch (const Error& error) {
    EXPECT_NE(std::strstr(error.what(), "there are: 0 fe80::"), nullptr) << error.what();
  }
}

TEST_F(VerbsFake, NoPortToUseSaysWhatThereIs) {
  fake_.set_devices(2);
  try {
    static_cast<void>(make({{"ACCL_IB_HCA", "mlx5"}}));
    FAIL() << "found a port";
  } catch (const Error& error) {
    EXPECT_NE(std::strstr(error.what(), "fake0 port 1 (not among ACCL_IB_HCA)"), nullptr)
        << error.what();
  }
  fake_.set_devices(0);
  try {
    static_cast<void>(make());
    FAIL() << "found a device";
  } catch (const Error& error) {
    EXPECT_NE(std::strstr(error.what(), "no RDMA device"), nullptr) << error.what();
  }
}

}  // namespace
}  // namespace accl::test
