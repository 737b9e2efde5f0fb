// ucx_test.cc - what only the ucx transport has: a library that may be missing, messages that
// overtake each other, and an end that waits for its peer, but not for ever.
#include "transport/ucx/ucx.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "accl/base/error.h"
#include "tests/transport/ring.h"
#include "tests/transport/world.h"
#include "transport/ucx/inbox.h"

namespace accl::test {
namespace {

using ucx::Inbox;
using ucx::Note;
using ucx::NoteKind;

constexpr Geometry geometry{.lanes = 1, .ring_bytes = 4096};

TEST(Ucx, WhereItIsMissingOneSentenceSaysWhatToDo) {
  try {
    static_cast<void>(make_ucx_transport(geometry, {.shared_object = "libno-such-ucp.so.0"}));
    FAIL() << "made a transport of nothing";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::system);
    const std::string text = error.what();
    EXPECT_NE(text.find("libno-such-ucp.so.0"), text.npos) << text;
    EXPECT_NE(text.find("install"), text.npos) << text;
    EXPECT_NE(text.find("libucx0"), text.npos) << text;
    EXPECT_EQ(text.find('\n'), text.npos) << text;
  }
}

TEST(Ucx, ALibraryThatIsNotUcxIsNamed) {
  try {
    static_cast<void>(make_ucx_transport(geometry, {.shared_object = "libc.so.6"}));
    FAIL() << "made a transport of libc";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("libc.so.6 has no ucp_"), std::string::npos)
        << error.what();
  }
}

TEST(Ucx, DevicesThatAreNotThereAreAnError) {
  const char* const before = std::getenv("UCX_TLS");
  const std::string kept = before != nullptr ? before : "";
  ::setenv("UCX_TLS", "no_such_transport", 1);
  try {
    static_cast<void>(make_ucx_transport(geometry));
    ADD_FAILURE() << "made a transport of no device";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("UCX_TLS"), std::string::npos) << error.what();
  }
  before != nullptr ? ::setenv("UCX_TLS", kept.c_str(), 1) : ::unsetenv("UCX_TLS");
}

TEST(Ucx, GeometriesThatCannotBeAreRefused) {
  for (const Geometry wrong : {Geometry{0, 4096}, {65, 4096}, {1, 0}, {1, 4097}, {1, 1u << 31}}) {
    EXPECT_THROW(static_cast<void>(make_ucx_transport(wrong)), Error) << wrong.lanes;
  }
}

constexpr std::array fatal_signals{SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

using Handlers = std::array<void (*)(int), fatal_signals.size()>;

Handlers handlers() {
  Handlers handlers{};
  for (std::size_t i = 0; i < handlers.size(); ++i) {
    struct sigaction action {};
    ::sigaction(fatal_signals[i], nullptr, &action);
    handlers[i] = action.sa_handler;
  }
  return handlers;
}

const Handlers handlers_at_start = handlers();  // A sanitizer has its own.

TEST(Ucx, SignalsStayTheProgramsOwn) {
  const auto transport = make_ucx_transport(geometry);
  EXPECT_EQ(handlers(), handlers_at_start);
}

// A peer that lives and never polls again costs the farewell, and no more.
TEST(Ucx, LeavingDoesNotWaitForEverForAPeerThatDoesNotPoll) {
  const Geometry large{.lanes = 1, .ring_bytes = 1 << 20};
  auto [here, there] = join_pair(make_ucx_transport(large), make_ucx_transport(large));
  std::vector<std::byte> payload(300 << 10);
  const std::span<const std::byte> piece(payload);
  const Place place = Ring(large.ring_bytes).next(300 << 10);
  const Parcel parcel{.head = {.tag = 1, .bytes = 300 << 10, .flags = 0},
                      .offset = place.offset,
                      .until = place.until,
                      .pieces = {&piece, 1}};
  ASSERT_TRUE(here.endpoint->put(0, parcel));
  const auto began = Clock::now();
  here = {};
  EXPECT_LT(Clock::now() - began, Milliseconds(5000));
  for (const Deadline deadline(patience); !deadline.passed() && !there.endpoint->broken();) {
    there.transport->poll();
  }
  EXPECT_TRUE(there.endpoint->broken()) << "it left";
}

// --- The inbox --------------------------------------------------------------------------------

// Message `number` of one ring unit each.
Note note(std::uint32_t number) {
  return {.kind = NoteKind::data,
          .lane = 0,
          .channel = 0,
          .freed = 0,
          .from = number,
          .until = number + 1,
          .offset = number % (geometry.ring_bytes / ring_unit_bytes) * ring_unit_bytes,
          .head = {.tag = number, .bytes = 8, .flags = 0}};
}

TEST(UcxInbox, CountsNothingBeyondAGap) {
  Inbox inbox(geometry);
  for (const std::uint32_t number : {0, 1, 2, 3, 4})
    ASSERT_NE(inbox.start(note(number), true), nullptr);
  const auto& arrived = inbox.arrived(0);
  inbox.finish(note(2));
  inbox.finish(note(1));
  inbox.finish(note(4));
  EXPECT_EQ(arrived, 0U);
  inbox.finish(note(0));
  EXPECT_EQ(arrived, 3U);
  inbox.finish(note(3));
  EXPECT_EQ(arrived, 5U);
}

// Every order of a window of messages, round the ring many times over.
TEST(UcxInbox, AnyOrderRoundTheRingEndsComplete) {
  const Geometry odd{.lanes = 1, .ring_bytes = 3 * 4096};
  Inbox inbox(odd);
  constexpr std::array<std::uint32_t, 6> order{3, 0, 5, 1, 4, 2};
  for (std::uint32_t begin = 0; begin < 3000; begin += 6) {
    for (const std::uint32_t i : order) ASSERT_NE(inbox.start(note(begin + i), true), nullptr);
    for (const std::uint32_t i : order) inbox.finish(note(begin + i));
    ASSERT_EQ(inbox.arrived(0), begin + 6);
  }
}

TEST(UcxInbox, LateExpectationsAndThoseOfLargePayloadsAreNotUsed) {
  Inbox inbox(geometry);
  std::vector<std::byte> target(8);
  EXPECT_TRUE(inbox.expect(0, 1, target));
  EXPECT_TRUE(inbox.expect(0, 2, target));
  EXPECT_NE(inbox.start(note(0), false), target.data()) << "UCX may write there for long";
  EXPECT_EQ(inbox.start(note(1), true), target.data());
  EXPECT_FALSE(inbox.took(0, 1));
  EXPECT_TRUE(inbox.took(0, 2));
  EXPECT_FALSE(inbox.expect(0, 2, target)) << "it is coming already";
  EXPECT_TRUE(inbox.expect(0, 3, target));
  inbox.forget_expectations();
  EXPECT_NE(inbox.start(note(2), true), target.data()) << "forgotten";
}

// What a peer in its senses never sends must not be written anywhere.
TEST(UcxInbox, RefusesWhatCannotBe) {
  Inbox inbox(geometry);
  std::vector<Note> wrong(7, note(0));
  wrong[0].lane = 1;
  wrong[1].offset = 1;
  wrong[2].offset = 4096;
  wrong[3].head.bytes = 4096;
  wrong[4].until = wrong[4].from;
  wrong[5].until = 65;
  wrong[6].from = 2;
  for (std::size_t i = 0; i < wrong.size(); ++i) {
    EXPECT_EQ(inbox.start(wrong[i], true), nullptr) << i;
  }
  ASSERT_NE(inbox.start(note(0), true), nullptr);
  inbox.finish(note(0));
  EXPECT_EQ(inbox.start(note(0), true), nullptr) << "twice";
}

}  // namespace
}  // namespace accl::test
