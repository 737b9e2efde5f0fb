// tcp_test.cc - what a tcp endpoint does with a peer that is not one of ours: every byte that comes
// off the wire may be anything.
#include "transport/tcp/tcp.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstring>
#include <random>

#include "accl/base/error.h"
#include "tests/transport/ring.h"
#include "tests/transport/world.h"
#include "transport/tcp/frame.h"
#include "transport/tcp/path.h"

namespace accl::test {
namespace {

using tcp::DataFrame;
using tcp::FrameKind;
using tcp::FrameStart;

constexpr Geometry geometry{.lanes = 2, .ring_bytes = 64 << 10};

// An endpoint for rank 3, whose other end of the socket the test holds.
class TcpWire : public testing::Test {
 protected:
  void SetUp() override {
    auto [mine, theirs] = connected_pair();
    wire_ = std::move(theirs);
    endpoint_ = transport_->open(Rank(3), std::move(mine));
    Greeting greeting;
    ASSERT_EQ(::recv(wire_.get(), &greeting, sizeof greeting, MSG_WAITALL),
              static_cast<ssize_t>(sizeof greeting));
    EXPECT_EQ(greeting.magic, tcp::greeting_magic);
    write(greeting);
    endpoint_->finish(Deadline(patience));
  }

  void write_bytes(const void* data, std::size_t bytes) {
    ASSERT_EQ(::send(wire_.get(), data, bytes, MSG_NOSIGNAL), static_cast<ssize_t>(bytes));
  }
  template <class Frame>
  void write(const Frame& frame) {
    write_bytes(&frame, sizeof frame);
  }
  void poll_some() {
    for (int i = 0; i < 10; ++i) transport_->poll();
  }
  void expect_broken(std::string_view word) {
    poll_some();
    EXPECT_TRUE(endpoint_->broken());
    EXPECT_NE(endpoint_->failure().find("rank 3"), std::string::npos) << endpoint_->failure();
    EXPECT_NE(endpoint_->failure().find(word), std::string::npos) << endpoint_->failure();
  }
  static DataFrame data_frame(std::uint32_t bytes, std::uint32_t until, std::uint32_t offset) {
    DataFrame frame;
    frame.start = {FrameKind::data, 1, until};
    frame.offset = offset;
    frame.head.bytes = bytes;
    return frame;
  }

  std::unique_ptr<Transport> transport_ = make_tcp_transport(geometry);
  std::unique_ptr<Endpoint> endpoint_;
  Fd wire_;
};

TEST_F(TcpWire, AGoodFrameArrivesByteByByte) {
  const DataFrame frame = data_frame(8, 1, 0);
  char bytes[sizeof frame + 8];
  std::memcpy(bytes, &frame, sizeof frame);
  std::memcpy(bytes + sizeof frame, "payload", 8);
  for (const char& byte : bytes) {
    EXPECT_EQ(endpoint_->counters(1).arrived->load(), 0U);
    write(byte);
    poll_some();
  }
  EXPECT_EQ(endpoint_->counters(1).arrived->load(), 1U);
  EXPECT_STREQ(reinterpret_cast<const char*>(endpoint_->inbox(1)) + sizeof(Head), "payload");
}

TEST_F(TcpWire, GarbageBreaksIt) {
  write_bytes("HTTP/1.1 400 Bad Request\r\n\r\n", 28);
  expect_broken("no frame");
}

TEST_F(TcpWire, ALaneThatIsNotThereBreaksIt) {
  DataFrame frame = data_frame(8, 1, 0);
  frame.start.lane = 2;
  write(frame);
  expect_broken("lane 2 of 2");
}

TEST_F(TcpWire, AMessageBeyondTheRingBreaksIt) {
  write(data_frame(1024, 17, (64 << 10) - 1024));
  expect_broken("cannot be");
}

TEST_F(TcpWire, AHugeSizeBreaksIt) {
  write(data_frame(0xFFFFFFF0, 17, 64));
  expect_broken("cannot be");
}

TEST_F(TcpWire, AnOddOffsetBreaksIt) {
  write(data_frame(8, 1, 8));
  expect_broken("cannot be");
}

TEST_F(TcpWire, APositionThatDoesNotAdvanceBreaksIt) {
  write(data_frame(0, 0, 0));
  expect_broken("cannot be");
}

TEST_F(TcpWire, APositionTooFarAheadBreaksIt) {
  write(data_frame(8, (64 << 10) / 64 + 1, 0));
  expect_broken("cannot be");
}

TEST_F(TcpWire, AReleaseOfWhatWasNeverPutBreaksIt) {
  const Parcel parcel{.head = {}, .offset = 0, .until = 1, .pieces = {}};
  ASSERT_TRUE(endpoint_->put(0, parcel));
  write(FrameStart{FrameKind::release, 0, 1});
  poll_some();
  EXPECT_FALSE(endpoint_->broken());
  EXPECT_EQ(endpoint_->counters(0).released->load(), 1U);
  write(FrameStart{FrameKind::release, 0, 2});
  expect_broken("released lane 0 until 2");
}

TEST_F(TcpWire, AClosedConnectionIsToldInWords) {
  wire_.reset();
  poll_some();
  EXPECT_TRUE(endpoint_->broken());
  EXPECT_EQ(endpoint_->failure(), "connection to rank 3 closed by it");
}

std::uint16_t port_of(const Fd& socket) {
  sockaddr_in address{};
  socklen_t bytes = sizeof address;
  EXPECT_EQ(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &bytes), 0);
  return ntohs(address.sin_port);
}

// Both ends of a TCP connection within this host.
std::pair<Fd, Fd> connected_over_tcp() {
  const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const auto* const raw = reinterpret_cast<const sockaddr*>(&address);
  EXPECT_EQ(::bind(listener.get(), raw, sizeof address), 0);
  EXPECT_EQ(::listen(listener.get(), 1), 0);
  address.sin_port = htons(port_of(listener));
  Fd mine(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::connect(mine.get(), raw, sizeof address), 0);
  return {std::move(mine), Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC))};
}

// An endpoint for rank 3 on our end; the test holds the other.
std::unique_ptr<Endpoint> joined_over_tcp(Transport& transport, Fd mine, const Fd& theirs) {
  auto endpoint = transport.open(Rank(3), std::move(mine));
  Greeting greeting;
  EXPECT_EQ(::recv(theirs.get(), &greeting, sizeof greeting, MSG_WAITALL),
            static_cast<ssize_t>(sizeof greeting));
  EXPECT_EQ(::send(theirs.get(), &greeting, sizeof greeting, MSG_NOSIGNAL),
            static_cast<ssize_t>(sizeof greeting));
  endpoint->finish(Deadline(patience));
  return endpoint;
}

// Who reads this must find the cable, and the kernel has forgotten the peer by then.
TEST(TcpPath, ABrokenConnectionNamesBothEndsAndTheInterface) {
  auto [mine, theirs] = connected_over_tcp();
  const std::string path =
      fmt::format("127.0.0.1:{} on lo to 127.0.0.1:{}", port_of(mine), port_of(theirs));
  const auto transport = make_tcp_transport(geometry);
  const auto endpoint = joined_over_tcp(*transport, std::move(mine), theirs);
  EXPECT_EQ(endpoint->path(), path);
  const linger at_once{.l_onoff = 1, .l_linger = 0};  // Closing sends a reset.
  ::setsockopt(theirs.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  theirs.reset();
  for (int i = 0; i < 10; ++i) transport->poll();
  EXPECT_EQ(endpoint->failure(), "connection to rank 3 (" + path + "): Connection reset by peer");
}

TEST(TcpPath, ASocketInsideAHostHasNone) {
  const auto [mine, theirs] = connected_pair();
  EXPECT_EQ(tcp::Paths().of(mine.get()), "");
}

// What came before the end still arrives, even if sending fails already.
TEST_F(TcpWire, TheLastMessagesOfALeavingPeerArrive) {
  write(data_frame(0, 1, 0));
  wire_.reset();
  const Parcel parcel{.head = {}, .offset = 0, .until = 1, .pieces = {}};
  static_cast<void>(endpoint_->put(0, parcel));
  poll_some();
  EXPECT_EQ(endpoint_->counters(1).arrived->load(), 1U);
  EXPECT_TRUE(endpoint_->broken());
}

TEST_F(TcpWire, ABrokenEndpointTellsItsPeer) {
  write_bytes("nonsense", 8);
  poll_some();
  ASSERT_TRUE(endpoint_->broken());
  char byte = 0;
  EXPECT_EQ(::recv(wire_.get(), &byte, 1, 0), 0);
}

// Whatever comes: it breaks or it carries on, and nothing is written where it must not (which the
// sanitizer builds see).
TEST_F(TcpWire, RandomFramesDoNoHarm) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    auto [mine, theirs] = connected_pair();
    wire_ = std::move(theirs);
    endpoint_ = transport_->open(Rank(3), std::move(mine));
    write(greeting_of(tcp::greeting_magic, geometry));
    endpoint_->finish(Deadline(patience));
    std::uint32_t until = 0;
    for (int i = 0; i < 20 && !endpoint_->broken(); ++i) {
      DataFrame frame = data_frame(random() >> (random() % 32), until, random() % 1024 * 64);
      until += random() % 64 == 0 ? random() : Ring::units_of(frame.head.bytes % 65536);
      frame.start.position = until;
      frame.start.lane = random() % 3;
      write(frame);
      std::vector<std::byte> payload(frame.head.bytes % 4096);
      write_bytes(payload.data(), payload.size());
      transport_->poll();
    }
    poll_some();
  }
}

TEST(TcpGreeting, ANeighbourOfAnotherKindIsToldSo) {
  auto [mine, theirs] = connected_pair();
  auto transport = make_tcp_transport(geometry);
  auto endpoint = transport->open(Rank(3), std::move(mine));
  const char text[sizeof(Greeting)] = "GET / HTTP/1.1\r\nHost: x";
  ASSERT_EQ(::send(theirs.get(), text, sizeof text, 0), static_cast<ssize_t>(sizeof text));
  try {
    endpoint->finish(Deadline(patience));
    FAIL() << "joined a browser";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("does not speak"), std::string::npos) << error.what();
  }
}

TEST(TcpGreeting, AnotherProtocolVersionIsTold) {
  auto [mine, theirs] = connected_pair();
  auto transport = make_tcp_transport(geometry);
  auto endpoint = transport->open(Rank(3), std::move(mine));
  Greeting greeting = greeting_of(tcp::greeting_magic, geometry);
  greeting.version = 99;
  ASSERT_EQ(::send(theirs.get(), &greeting, sizeof greeting, 0),
            static_cast<ssize_t>(sizeof greeting));
  try {
    endpoint->finish(Deadline(patience));
    FAIL() << "joined another version";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("99"), std::string::npos) << error.what();
  }
}

TEST(TcpGreeting, GeometriesThatCannotBeAreRefused) {
  EXPECT_THROW(make_tcp_transport({.lanes = 0, .ring_bytes = 65536}), Error);
  EXPECT_THROW(make_tcp_transport({.lanes = 65, .ring_bytes = 65536}), Error);
  EXPECT_THROW(make_tcp_transport({.lanes = 1, .ring_bytes = 0}), Error);
  EXPECT_THROW(make_tcp_transport({.lanes = 1, .ring_bytes = 5000}), Error);
}

// Over real TCP, small messages leave at once.
TEST(TcpSocket, NoDelayIsSet) {
  auto [mine, theirs] = connected_over_tcp();
  int no_delay = 0;
  socklen_t bytes = sizeof no_delay;
  const int socket = mine.get();
  auto transport = make_tcp_transport(geometry);
  const auto endpoint = transport->open(Rank(3), std::move(mine));
  ASSERT_EQ(::getsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &no_delay, &bytes), 0);
  EXPECT_NE(no_delay, 0);
}

bool is_readable(int file, Milliseconds time) {
  pollfd waiting{file, POLLIN, 0};
  return ::poll(&waiting, 1, static_cast<int>(time.count())) == 1;
}

// A payload comes in many packets, and is of use when all are here.
TEST(TcpSocket, ASleeperIsWokenByTheEndOfAPayloadAndNotByItsParts) {
  auto [mine, theirs] = connected_over_tcp();
  auto transport = make_tcp_transport(geometry);
  const auto endpoint = joined_over_tcp(*transport, std::move(mine), theirs);
  constexpr std::uint32_t bytes = 16 << 10;
  DataFrame frame;
  frame.start = {FrameKind::data, 1, message_units(bytes)};
  frame.head.bytes = bytes;
  std::vector<std::byte> stream(sizeof frame + bytes);
  std::memcpy(stream.data(), &frame, sizeof frame);
  const auto send = [&](std::size_t from, std::size_t until) {
    ASSERT_EQ(::send(theirs.get(), stream.data() + from, until - from, MSG_NOSIGNAL),
              static_cast<ssize_t>(until - from));
  };
  send(0, 100);
  for (int i = 0; i < 10; ++i) transport->poll();
  EXPECT_TRUE(transport->arm());
  send(100, 5000);
  EXPECT_FALSE(is_readable(transport->event_fd(), Milliseconds(50))) << "by a part";
  send(5000, stream.size());
  EXPECT_TRUE(is_readable(transport->event_fd(), patience)) << "by the end";
  transport->disarm();
  for (int i = 0; i < 10; ++i) transport->poll();
  EXPECT_TRUE(reached(endpoint->counters(1).arrived, message_units(bytes)));
  // What comes next may be small again.
  EXPECT_TRUE(transport->arm());
  const FrameStart release{FrameKind::release, 0, 0};
  ASSERT_EQ(::send(theirs.get(), &release, sizeof release, MSG_NOSIGNAL),
            static_cast<ssize_t>(sizeof release));
  EXPECT_TRUE(is_readable(transport->event_fd(), patience)) << "by eight bytes";
  transport->disarm();
}

}  // namespace
}  // namespace accl::test
