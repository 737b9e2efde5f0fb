// failover_test.cc - what happens to messages when queues break and ports die, over the fake
// libibverbs: every one of them arrives, once, in order, or the connection ends with words.
#include <infiniband/verbs.h>

#include <algorithm>
#include <cerrno>

#include "tests/verbs/stream.h"

namespace accl::test {
namespace {

class VerbsFailover : public VerbsExchange {};

TEST_F(VerbsFailover, WhicheverRequestBreaksEveryMessageArrivesOnce) {
  for (const int is_delivered : {0, 1}) {
    for (std::uint32_t k = 1; k < 250; k += 7) {
      fake_.reset();
      auto [here, there] = join(make(), make());
      fake_.break_request(k, IBV_WC_RETRY_EXC_ERR, is_delivered);
      EXPECT_EQ(exchange(here, there), "") << "request " << k << ", delivered " << is_delivered;
      EXPECT_STREQ(fake_.violation(), "");
      ASSERT_FALSE(HasFailure());
    }
  }
}

TEST_F(VerbsFailover, APortThatGoesDownIsReplacedByAnother) {
  fake_.set_devices(2);
  auto [here, there] = join(make(), make({}, false, 1));
  ASSERT_NE(here.endpoint->path().find("fake0"), std::string::npos) << here.endpoint->path();
  const std::string words = exchange(here, there, [&](std::uint32_t taken) {
    if (taken > 20) fake_.set_link(0, 0, 1);
  });
  EXPECT_EQ(words, "");
  EXPECT_NE(here.endpoint->path().find("fake1"), std::string::npos) << here.endpoint->path();
}

TEST_F(VerbsFailover, BothEndsMayLoseTheirPortsAtOnce) {
  fake_.set_devices(4);
  auto [here, there] = join(make(), make({}, false, 1));
  const std::string words = exchange(here, there, [&](std::uint32_t taken) {
    if (taken < 20) return;
    fake_.set_link(0, 0, 1);
    fake_.set_link(1, 0, 1);
  });
  EXPECT_EQ(words, "");
  for (const Joined* one : {&here, &there}) {
    const std::string path = one->endpoint->path();
    EXPECT_EQ(path.find("fake0"), std::string::npos) << path;
    EXPECT_EQ(path.find("fake1"), std::string::npos) << path;
  }
}

TEST_F(VerbsFailover, ADeviceThatDiesIsReplacedByAnother) {
  fake_.set_devices(2);
  auto [here, there] = join(make(), make());
  bool has_died = false;
  const std::string words = exchange(here, there, [&](std::uint32_t taken) {
    if (taken < 20 || std::exchange(has_died, true)) return;
    fake_.set_link(0, 0, 0);
    fake_.raise(IBV_EVENT_DEVICE_FATAL);
  });
  EXPECT_EQ(words, "");
  EXPECT_NE(here.endpoint->path().find("fake1"), std::string::npos) << here.endpoint->path();
  EXPECT_NE(there.endpoint->path().find("fake1"), std::string::npos) << there.endpoint->path();
}

// Its port says that it is up; but what goes over it is lost.
TEST_F(VerbsFailover, APortThatIsDeadInSilenceIsReplacedInTheEnd) {
  fake_.set_devices(3);
  auto [here, there] = join(make(), make({}, false, 1));
  const std::string words = exchange(here, there, [&](std::uint32_t taken) {
    if (taken > 20) fake_.set_link(0, 0, 0);
  });
  EXPECT_EQ(words, "");
  EXPECT_EQ(here.endpoint->path().find("fake0"), std::string::npos) << here.endpoint->path();
}

// Only the other end sends, so only it sees that nothing is acknowledged.
TEST_F(VerbsFailover, TheEndThatOnlyReceivesLeavesItsDeadPortToo) {
  fake_.set_devices(3);
  auto [here, there] = join(make(), make({}, false, 1));
  Stream stream(there, here, 0);
  bool has_died = false;
  for (const Deadline deadline(patience); !stream.is_over() && !deadline.passed();) {
    stream.put_some();
    step(here, there);
    stream.take_some();
    if (stream.taken() > 10 && !std::exchange(has_died, true)) fake_.set_link(0, 0, 0);
    ASSERT_EQ(here.endpoint->failure() + there.endpoint->failure(), "");
  }
  EXPECT_TRUE(stream.is_over());
  EXPECT_EQ(here.endpoint->path().find("fake0"), std::string::npos) << here.endpoint->path();
}

TEST_F(VerbsFailover, APathThatStaysDeadEndsTheConnectionWithTheFirstReason) {
  auto [here, there] = join(make(), make());
  const std::string words = exchange(here, there, [&](std::uint32_t taken) {
    if (taken > 20) fake_.set_link(0, 0, 0);
  });
  EXPECT_NE(words.find("retry counter exceeded"), std::string::npos) << words;
}

TEST_F(VerbsFailover, WithoutAnotherPortTheReasonNamesTheOneThatDied) {
  auto [here, there] = join(make(), make());
  bool has_died = false;
  const std::string words = exchange(here, there, [&](std::uint32_t taken) {
    if (taken < 20 || std::exchange(has_died, true)) return;
    fake_.set_link(0, 0, 1);
    fake_.raise(IBV_EVENT_DEVICE_FATAL);
  });
  EXPECT_NE(words.find("local catastrophic error"), std::string::npos) << words;
  EXPECT_NE(words.find("no port of this host works"), std::string::npos) << words;
}

// Fails every call of going over to another port in turn.
TEST_F(VerbsFailover, WhicheverCallFailsNothingHangsAndNothingLeaks) {
  std::uint32_t broke = 0, went_on = 0;
  const auto lose_port_and_call = [&](std::uint32_t k) {
    auto [here, there] = join(make(), make({}, false, 1));
    bool has_died = false;
    return exchange(here, there, [&](std::uint32_t taken) {
      if (taken < 20 || std::exchange(has_died, true)) return;
      fake_.set_link(0, 0, 1);
      fake_.fail_call(k, EIO);
    });
  };
  bool is_last = false;
  for (std::uint32_t k = 1; !is_last; k += k < 80 ? 1 : 7) {  // Later ones are of messages.
    fake_.reset();
    fake_.set_devices(2);
    const std::string words = lose_port_and_call(k);
    is_last = fake_.calls() < k;
    EXPECT_TRUE(words.empty() || words.find("rank ") != words.npos) << words;
    ++(words.empty() ? went_on : broke);
    EXPECT_EQ(fake_.living(), 0U) << "after call " << k << " failed";
    EXPECT_STREQ(fake_.violation(), "");
    ASSERT_FALSE(HasFailure()) << "call " << k;
  }
  EXPECT_GT(went_on, 20U);
  EXPECT_EQ(broke, 0U) << "another try does";
}

// An end of each of several connections between the same two ranks, as if there were more ranks.
std::vector<std::unique_ptr<Endpoint>> join_more(const Joined& here, const Joined& there,
                                                 std::uint32_t count) {
  std::vector<std::unique_ptr<Endpoint>> all;
  for (std::uint32_t i = 0; i < count; ++i) {
    auto [mine, theirs] = connected_pair();
    all.push_back(here.transport->open(Rank{2 + i}, std::move(mine)));
    all.push_back(there.transport->open(Rank{2 + i}, std::move(theirs)));
  }
  return all;
}

// The address of the peer is looked for in vain, for long. Whoever polls is held by one connection
// at a time, and by those that have not tried before those that have.
TEST_F(VerbsFailover, ManyPeersThatCannotBeFoundHoldTheThreadOnceAtATime) {
  constexpr std::uint32_t more = 5;
  constexpr Milliseconds look{200};
  fake_.set_devices(2);
  auto [here, there] = join(make(), make());
  const auto all = join_more(here, there, more);
  const auto is_joined = [](const auto& endpoint) { return finishes(*endpoint); };
  for (const Deadline end(patience); std::ranges::count_if(all, is_joined) < 2 * more;) {
    ASSERT_FALSE(end.passed());
  }
  fake_.look_for(look.count());
  fake_.set_link(0, 0, 1);
  Clock::duration longest{};
  for (const Deadline end(10 * look); !end.passed();) {
    const Clock::time_point start = Clock::now();
    here.transport->poll();
    longest = std::max(longest, Clock::now() - start);
    static_cast<void>(here.transport->arm());
    here.transport->disarm();
    step(there, there);
  }
  EXPECT_GE(longest, look) << "nobody connected";
  EXPECT_LT(longest, more * look) << "one look, but for a machine that is busy";
  fake_.look_for(0);
  for (const Deadline end(patience); !end.passed();) {
    step(here, there);
    const auto is_over = [](const auto& one) {
      return one->path().find("fake1") != one->path().npos;
    };
    if (std::ranges::all_of(all, is_over)) break;
  }
  for (const auto& endpoint : all) {
    EXPECT_NE(endpoint->path().find("fake1"), std::string::npos) << endpoint->path();
    EXPECT_EQ(endpoint->failure(), "");
  }
}

TEST_F(VerbsFailover, WhereItIsSwitchedOffTheConnectionEnds) {
  fake_.set_devices(2);
  auto [here, there] = join(make(no_failover), make(no_failover));
  fake_.break_request(9, IBV_WC_RETRY_EXC_ERR, 0);
  const std::string words = exchange(here, there);
  EXPECT_NE(words.find("retry counter exceeded"), std::string::npos) << words;
}

}  // namespace
}  // namespace accl::test
