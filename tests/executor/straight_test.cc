// straight_test.cc - which calls run straight, that they give what the general walk gives, and that
// ranks may differ in which of the two they run.
#include "accl/straight.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <numeric>

#include "accl/executor.h"
#include "accl/heap.h"
#include "accl/routes.h"
#include "tests/executor/run_ranks.h"
#include "transport/loop.h"
#include "transport/shm/shm.h"

namespace accl::testing {
namespace {

constexpr Geometry geometry{.lanes = most_lanes, .ring_bytes = 1 << 20};

// A call of one send and one reduction, on a rank that is its own peer.
struct Exchange {
  explicit Exchange(std::size_t count, std::size_t slice = 1 << 20,
                    LoopKind kind = LoopKind::pull_cells)
      : endpoint(geometry, kind), send(count), recv(count) {
    std::iota(send.begin(), send.end(), 1.0f);
    lanes.width = most_lanes;
    for (std::uint32_t i = 0; i < most_lanes; ++i) lanes.lanes[i] = Lane(endpoint, i, geometry);
    StepList list;
    list.send(input(0), Position{1}, scratch(0));
    list.recv(scratch(0), Position{1});
    list.reduce(output(0), input(0), scratch(0));
    route.program = std::make_shared<Program>(lower(list.steps(), 1));
    route.peers = {&lanes};
    call = {.send = send.data(), .recv = recv.data(), .count = count};
    call.type = DataType::float32;
    binding.program = route.program.get();
    binding.peers = route.peers;
    binding.input_layout = binding.output_layout = Layout::whole(count, 1, slice);
    binding.input.base = reinterpret_cast<std::byte*>(send.data());
    binding.output.base = reinterpret_cast<std::byte*>(recv.data());
    binding.type = call.type;
    binding.kernel = reduce_kernel(call.type, ReduceOp::sum);
  }
  std::unique_ptr<Straight> straight() { return Straight::make(call, route, binding, 7); }

  LoopEndpoint endpoint;
  std::vector<float> send, recv;
  PeerLanes lanes;
  Route route;
  Call call;
  Binding binding;
};

void expect_same_both_ways(Exchange& exchange) {
  const auto line = exchange.straight();
  ASSERT_NE(line, nullptr) << exchange.send.size();
  line->begin(exchange.call.send, exchange.call.recv, 3);
  while (!line->is_done()) ASSERT_TRUE(line->advance());
  const std::vector<float> straight = exchange.recv;
  Executor executor;
  executor.begin(exchange.binding);
  while (!executor.is_done()) ASSERT_TRUE(executor.advance());
  EXPECT_EQ(straight, exchange.recv);
  EXPECT_EQ(straight.back(), 2 * exchange.send.back());
}

TEST(StraightCall, GivesWhatTheGeneralWalkGives) {
  for (const LoopKind kind : {LoopKind::pull_cells, LoopKind::push}) {
    for (const std::size_t count : {1u, 28u, 29u, 500u, 2048u}) {
      Exchange exchange(count, 1 << 20, kind);
      expect_same_both_ways(exchange);
    }
  }
}

// What a transport has taken it may still read.
TEST(StraightCall, GoesOnWhenItsMessageHasLeft) {
  Exchange exchange(10, 1 << 20, LoopKind::push);
  const auto line = exchange.straight();
  ASSERT_NE(line, nullptr);
  exchange.endpoint.keep(true);
  line->begin(exchange.call.send, exchange.call.recv, 3);
  const auto& arrived = *exchange.endpoint.counters(0).arrived;
  EXPECT_TRUE(line->advance());
  const std::uint32_t position = arrived.load();
  EXPECT_GT(position, 0u);
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(line->advance());
  EXPECT_FALSE(line->is_done());
  EXPECT_EQ(line->blocked_on(), 0u);
  EXPECT_EQ(arrived.load(), position);  // Once.
  exchange.endpoint.keep(false);
  EXPECT_TRUE(line->advance());
  EXPECT_TRUE(line->is_done());
  EXPECT_EQ(exchange.recv.back(), 2 * exchange.send.back());
}

TEST(StraightCall, RunsOnOtherBuffersOfTheSameShape) {
  Exchange exchange(10);
  const auto line = exchange.straight();
  std::vector<float> other(10, 4.0f), result(10);
  Call again = exchange.call;
  again.send = other.data();
  again.recv = result.data();
  EXPECT_TRUE(line->is_of(again));
  line->begin(again.send, again.recv, 1);
  while (!line->is_done()) ASSERT_TRUE(line->advance());
  EXPECT_EQ(result, std::vector<float>(10, 8.0f));
  again.count = 9;
  EXPECT_FALSE(line->is_of(again));
  again = exchange.call;
  again.recv = nullptr;
  EXPECT_FALSE(line->is_of(again));
}

TEST(StraightCall, IsNoneOfWhatNeedsMore) {
  EXPECT_EQ(Exchange(straight_bytes / 4 + 1).straight(), nullptr);  // Larger messages.
  EXPECT_EQ(Exchange(100, 50).straight(), nullptr);                 // Two slices.
  Exchange scaled(10);
  scaled.binding.scaling.is_on = true;
  EXPECT_EQ(scaled.straight(), nullptr);
  Exchange divided(10);
  divided.binding.divide_by = 3;
  EXPECT_EQ(divided.straight(), nullptr);
  Exchange uneven(10);
  uneven.call.collective = Collective::alltoallv;  // Each call brings its own counts.
  EXPECT_EQ(uneven.straight(), nullptr);
}

// data[i] is (i + first) * times.
void expect_counting(std::span<const std::int32_t> data, std::int32_t first, std::int32_t times) {
  for (std::size_t i = 0; i < data.size(); ++i) {
    ASSERT_EQ(data[i], (static_cast<std::int32_t>(i) + first) * times)
        << data.size() << " elements, at " << i;
  }
}

// Rank 0 of each host has a peer over tcp, the others have not. What accl_alloc memory holds may be
// read in place, which a straight rank does not understand.
TEST(StraightCall, RunsOverSharedMemoryAndTheNetworkAtOnce) {
  for (const std::size_t count : {20u, 28u, 30u, 511u, 513u, 2047u, 2048u, 2049u, 4096u}) {
    run_ranks(5, {}, {0, 0, 0, 1, 1}, [&](Communicator& comm) {
      void* const memory = process_heap().allocate(count * sizeof(std::int32_t));
      const std::span<std::int32_t> data(static_cast<std::int32_t*>(memory), count);
      Call call{.collective = Collective::broadcast, .send = memory, .recv = memory};
      call.count = count;
      call.type = DataType::int32;
      for (std::int32_t round = 0; round < 40; ++round) {
        std::iota(data.begin(), data.end(), comm.rank() == Rank{0} ? round : -1000);
        comm.run(call);
        expect_counting(data, round, 1);
      }
      process_heap().free(memory);
    });
  }
}

// A barrier has bytes of its own, whatever buffers its call names, and another's next time.
TEST(StraightCall, OfABarrierTouchesNobodysBuffers) {
  run_ranks(3, {}, {0, 0, 0}, [](Communicator& comm) {
    std::vector<std::uint8_t> memory(1 << 16, 7);
    for (const std::size_t at : {std::size_t{100}, std::size_t{5000}, std::size_t{60000}}) {
      comm.run({.collective = Collective::barrier});
      Call call{.collective = Collective::barrier, .send = &memory[at], .recv = &memory[at + 1]};
      comm.run(call);
    }
    EXPECT_EQ(std::ranges::count(memory, 7), static_cast<std::ptrdiff_t>(memory.size()));
  });
}

// In a folded halving-doubling single ranks exchange half of what the pairs do.
TEST(StraightCall, MeetsRanksWhoseMessagesAreTwiceAsLarge) {
  CommunicatorOptions options;
  options.algorithm = "hd";
  for (const std::size_t count : {1000u, 2500u, 4000u}) {
    run_ranks(3, options, {0, 0, 0}, [&](Communicator& comm) {
      void* const memory = process_heap().allocate(count * sizeof(std::int32_t));
      const std::span<std::int32_t> data(static_cast<std::int32_t*>(memory), count);
      for (std::int32_t round = 0; round < 20; ++round) {
        std::iota(data.begin(), data.end(), round);
        Call call{.send = memory, .recv = memory, .count = count};
        call.type = DataType::int32;
        comm.run(call);
        expect_counting(data, round, 3);
      }
      process_heap().free(memory);
    });
  }
}

// Two ends of one shared-memory connection in this thread.
struct Pair {
  Pair() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    first = first_transport->open(Rank{1}, Fd(ends[0]));
    second = second_transport->open(Rank{0}, Fd(ends[1]));
    const Deadline deadline(Milliseconds(5000));
    first->finish(deadline);
    second->finish(deadline);
  }
  std::unique_ptr<Transport> first_transport = make_shm_transport(geometry);
  std::unique_ptr<Transport> second_transport = make_shm_transport(geometry);
  std::unique_ptr<Endpoint> first, second;
};

TEST(SharedMemoryCells, CarryTinyMessagesPastTheRingAndComeBack) {
  Pair pair;
  Lane out(*pair.first, 0, geometry), in(*pair.second, 0, geometry);
  for (std::uint32_t i = 0; i < 10 * cell_count; ++i) {
    const Head head{.tag = i, .bytes = tiny_bytes, .flags = 0};
    ASSERT_TRUE(out.has_room(tiny_bytes)) << i;
    std::memset(out.begin(head), static_cast<int>(i), tiny_bytes);
    ASSERT_TRUE(out.publish(head));
    const Head* const got = in.arrived(tiny_bytes);
    ASSERT_NE(got, nullptr) << i;
    EXPECT_EQ(got->tag, i);
    EXPECT_EQ(Lane::payload(got, tiny_bytes)[tiny_bytes - 1], static_cast<std::byte>(i));
    in.release(tiny_bytes, false);
  }
  EXPECT_EQ(pair.second->counters(0).arrived->load(), 0u);  // The ring was not used.
}

TEST(SharedMemoryCells, WakeWhoSleeps) {
  Pair pair;
  Lane out(*pair.first, 0, geometry);
  const auto is_awake = [&] {
    pollfd event{.fd = pair.second_transport->event_fd(), .events = POLLIN, .revents = 0};
    return ::poll(&event, 1, 0) == 1;
  };
  ASSERT_TRUE(pair.second_transport->arm());
  EXPECT_FALSE(is_awake());
  const Head head{.tag = 1, .bytes = 8, .flags = 0};
  ASSERT_TRUE(out.has_room(8));
  out.begin(head);
  ASSERT_TRUE(out.publish(head));
  EXPECT_TRUE(is_awake());
  pair.second_transport->disarm();
}

}  // namespace
}  // namespace accl::testing
