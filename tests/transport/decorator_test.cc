// decorator_test.cc - what trace counts, and that every fault does what it says, over a push and a
// pull transport.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "accl/base/error.h"
#include "tests/transport/ring.h"
#include "tests/transport/table.h"
#include "tests/transport/world.h"
#include "transport/fault/fault.h"
#include "transport/trace/trace.h"

namespace accl::test {
namespace {

constexpr Geometry geometry{.lanes = 1, .ring_bytes = 64 << 10};
constexpr std::uint32_t bytes = 8;  // One ring unit each.

class Decorators : public testing::TestWithParam<TransportRow> {
 protected:
  // The faulty side sends.
  void join(std::unique_ptr<Transport> sender) {
    std::tie(here_, there_) = join_pair(std::move(sender), GetParam().make(geometry, 1));
  }
  void join_with_fault(std::string_view plan) {
    join(make_fault_transport(GetParam().make(geometry, 0), parse_fault(plan)));
  }

  bool put(std::uint32_t number) {
    payload_.assign(bytes, static_cast<std::byte>(number));
    const Parcel parcel{.head = {.tag = number, .bytes = bytes, .flags = 0},
                        .offset = (number - 1) * ring_unit_bytes,
                        .until = number,
                        .pieces = {&piece_, GetParam().is_push ? std::size_t{1} : std::size_t{0}}};
    piece_ = payload_;
    if (std::byte* const outbox = here_.endpoint->outbox(0); outbox != nullptr) {
      std::memcpy(outbox + parcel.offset, &parcel.head, sizeof parcel.head);
      std::memcpy(outbox + parcel.offset + sizeof parcel.head, payload_.data(), bytes);
    }
    return here_.endpoint->put(0, parcel);
  }

  bool poll_until(const std::function<bool()>& done) {
    for (const Deadline deadline(patience); !deadline.passed();) {
      here_.transport->poll();
      there_.transport->poll();
      if (done()) return true;
    }
    return false;
  }
  bool wait_for(std::uint32_t number) {
    return poll_until([&] { return reached(there_.endpoint->counters(0).arrived, number); });
  }

  const std::byte* message(std::uint32_t number) const {
    return there_.endpoint->inbox(0) + std::size_t{number - 1} * ring_unit_bytes;
  }
  Head head(std::uint32_t number) const {
    Head head;
    std::memcpy(&head, message(number), sizeof head);
    return head;
  }
  bool is_intact(std::uint32_t number) const {
    const auto payload = std::span(message(number) + sizeof(Head), bytes);
    return head(number).tag == number && head(number).bytes == bytes &&
           std::ranges::all_of(
               payload, [&](std::byte byte) { return byte == static_cast<std::byte>(number); });
  }

  Joined here_, there_;
  std::vector<std::byte> payload_;
  std::span<const std::byte> piece_;
};

TEST_P(Decorators, TraceCountsWhatIsPutAndReleased) {
  const auto counters = std::make_shared<TransportCounters>();
  join(make_trace_transport(GetParam().make(geometry, 0), counters));
  ASSERT_TRUE(put(1));
  ASSERT_TRUE(put(2));
  here_.endpoint->release(0, 0);
  const std::vector<PeerCounters> read = counters->read();
  ASSERT_EQ(read.size(), 1U);
  EXPECT_EQ(read[0].peer, Rank(1));
  EXPECT_EQ(read[0].messages, 2U);
  EXPECT_EQ(read[0].bytes, 2 * bytes);
  EXPECT_EQ(read[0].puts_refused, 0U);
  EXPECT_EQ(read[0].releases, 1U);
  EXPECT_STREQ(here_.transport->name(), GetParam().name.c_str());
}

TEST_P(Decorators, TraceCountsRefusals) {
  const auto counters = std::make_shared<TransportCounters>();
  join(make_trace_transport(
      make_fault_transport(GetParam().make(geometry, 0), parse_fault("refuse:3")), counters));
  std::uint64_t refused = 0;
  for (std::uint32_t number = 1; number <= 100;) {
    put(number) ? ++number : ++refused;
    here_.transport->poll();  // Some refuse until they are.
  }
  EXPECT_GT(refused, 0U);
  EXPECT_EQ(counters->read().at(0).puts_refused, refused);
  ASSERT_TRUE(wait_for(100));
  for (std::uint32_t number = 1; number <= 100; ++number) EXPECT_TRUE(is_intact(number));
}

TEST_P(Decorators, FlipSpoilsJustTheMessageItNames) {
  join_with_fault("flip:2");
  for (std::uint32_t number : {1, 2, 3}) ASSERT_TRUE(put(number));
  ASSERT_TRUE(wait_for(3));
  EXPECT_TRUE(is_intact(1));
  EXPECT_FALSE(is_intact(2));
  EXPECT_EQ(head(2).tag, 2U) << "only the payload";
  EXPECT_TRUE(is_intact(3));
}

TEST_P(Decorators, DropLosesJustTheMessageItNames) {
  join_with_fault("drop:2");
  for (std::uint32_t number : {1, 2}) ASSERT_TRUE(put(number));
  ASSERT_TRUE(wait_for(1));
  for (int i = 0; i < 100; ++i) there_.transport->poll();
  EXPECT_EQ(there_.endpoint->counters(0).arrived->load(), 1U);
}

TEST_P(Decorators, TruncateSaysHalfTheBytes) {
  join_with_fault("truncate:2");
  for (std::uint32_t number : {1, 2, 3}) ASSERT_TRUE(put(number));
  ASSERT_TRUE(wait_for(3));
  EXPECT_TRUE(is_intact(1));
  EXPECT_EQ(head(2).bytes, bytes / 2);
  EXPECT_TRUE(is_intact(3));
}

TEST_P(Decorators, DelayHoldsArrivalsBackAndKeepsTheirReaderAwake) {
  std::tie(here_, there_) =
      join_pair(GetParam().make(geometry, 0),
                make_fault_transport(GetParam().make(geometry, 1), parse_fault("delay:5")));
  const std::atomic<std::uint32_t>* const shown = there_.endpoint->counters(0).arrived;
  int late = 0;
  for (std::uint32_t number = 1; number <= 20; ++number) {
    ASSERT_TRUE(put(number));
    here_.transport->poll();
    there_.transport->poll();
    if (!reached(shown, number)) {
      ++late;
      EXPECT_FALSE(there_.transport->arm()) << "it would sleep over an arrival";
      there_.transport->disarm();
    }
    ASSERT_TRUE(poll_until([&] { return reached(shown, number); }));
    EXPECT_TRUE(is_intact(number));
  }
  EXPECT_GT(late, 10);
}

TEST_P(Decorators, BreakBreaksAtTheCallItNames) {
  join_with_fault("break:3");
  EXPECT_TRUE(put(1));
  here_.endpoint->release(0, 0);
  EXPECT_FALSE(here_.endpoint->broken());
  EXPECT_FALSE(put(2));
  EXPECT_TRUE(here_.endpoint->broken());
  EXPECT_NE(here_.endpoint->failure().find("call 3"), std::string::npos);
  EXPECT_FALSE(here_.transport->arm()) << "it would sleep over the failure";
  here_.transport->disarm();
}

TEST_P(Decorators, SkipReleaseLosesTheReleaseItNames) {
  std::tie(there_, here_) =
      join_pair(make_fault_transport(GetParam().make(geometry, 0), parse_fault("skip_release:2")),
                GetParam().make(geometry, 1));
  for (std::uint32_t number : {1, 2, 3}) ASSERT_TRUE(put(number));
  ASSERT_TRUE(wait_for(3));
  const std::atomic<std::uint32_t>* const released = here_.endpoint->counters(0).released;
  there_.endpoint->release(0, 1);
  ASSERT_TRUE(poll_until([&] { return reached(released, 1); }));
  there_.endpoint->release(0, 2);
  for (int i = 0; i < 100; ++i) static_cast<void>(poll_until([] { return true; }));
  EXPECT_EQ(released->load(), 1U);
  there_.endpoint->release(0, 3);
  EXPECT_TRUE(poll_until([&] { return reached(released, 3); }));
}

TEST_P(Decorators, DieAndStopHitTheProcessAtTheCallTheyName) {
  for (const auto& [plan, signal] : {std::pair{"die:2", SIGKILL}, std::pair{"stop:2", SIGSTOP}}) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      join_with_fault(plan);
      if (!put(1)) ::_exit(3);
      static_cast<void>(put(2));
      ::_exit(4);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, WUNTRACED), child);
    const bool hit = signal == SIGKILL ? WIFSIGNALED(status) && WTERMSIG(status) == signal
                                       : WIFSTOPPED(status) && WSTOPSIG(status) == signal;
    EXPECT_TRUE(hit) << plan << ": status " << status;
    if (!WIFSTOPPED(status)) continue;
    ::kill(child, SIGKILL);
    ::waitpid(child, &status, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Decorators, testing::ValuesIn(transport_rows()),
                         [](const auto& info) { return info.param.name; });

TEST(ParseFault, ReadsKindAndNumber) {
  EXPECT_EQ(parse_fault("flip:3").kind, FaultKind::flip);
  EXPECT_EQ(parse_fault("flip:3").k, 3U);
  EXPECT_EQ(parse_fault("break:1").kind, FaultKind::break_);
  EXPECT_EQ(parse_fault("skip_release:12").kind, FaultKind::skip_release);
}

TEST(ParseFault, RefusesWhatIsNoneAndListsTheKinds) {
  for (const char* const text : {"", "flip", "flip:", "flip:0", "flip:-1", "flip:3x", "fly:3", ":3",
                                 "flip:99999999999999999999", "flip:1:2"}) {
    try {
      parse_fault(text);
      ADD_FAILURE() << "accepted '" << text << "'";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
      EXPECT_NE(std::string(error.what()).find("skip_release"), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace accl::test
