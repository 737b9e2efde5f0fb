// concurrency_test.cc - several communicators, threads and started calls at once; shared user
// memory; ranks on several hosts; splits; abort; disagreement.
#include <atomic>
#include <barrier>

#include "accl/heap.h"
#include "tests/executor/run_ranks.h"

namespace accl::testing {
namespace {

Call sum_of(std::vector<std::int32_t>& data) {
  return {.collective = Collective::allreduce,
          .send = data.data(),
          .recv = data.data(),
          .count = data.size(),
          .type = DataType::int32};
}

std::int32_t sum_of_ranks(std::uint32_t size) {
  return static_cast<std::int32_t>(size * (size + 1) / 2);
}

std::vector<std::int32_t> filled(Communicator& comm, std::size_t count) {
  return std::vector<std::int32_t>(count, static_cast<std::int32_t>(index(comm.rank()) + 1));
}

TEST(Hosts, SharedMemoryInsideAndTcpBetween) {
  for (const char* algorithm : {"auto", "twolevel", "hd", "ring", "tree"}) {
    CommunicatorOptions options;
    options.algorithm = algorithm;
    run_ranks(6, options, {0, 0, 1, 1, 2, 2}, [&](Communicator& comm) {
      for (const std::size_t count : {1u, 100u, 200003u}) {
        auto data = filled(comm, count);
        comm.run(sum_of(data));
        EXPECT_EQ(data, std::vector<std::int32_t>(count, sum_of_ranks(6))) << algorithm;
      }
      if (std::string(algorithm) == "hd") {
        EXPECT_EQ(comm.transports(), "shm+tcp");
      }
    });
  }
}

TEST(Hosts, TheUserSaysWhatCarriesInsideThem) {
  struct Row {
    const char* transport;
    const char* intra_host;
    const char* used;
  };
  for (const Row& row : {Row{"auto", "auto", "shm+tcp"}, Row{"auto", "nic", "tcp"},
                         Row{"tcp", "auto", "tcp"}, Row{"tcp", "direct", "shm+tcp"}}) {
    CommunicatorOptions options;
    options.algorithm = "hd";
    options.transport = row.transport;
    options.intra_host = row.intra_host;
    run_ranks(4, options, {0, 0, 1, 1}, [&](Communicator& comm) {
      auto data = filled(comm, 1000);
      comm.run(sum_of(data));
      EXPECT_EQ(data, std::vector<std::int32_t>(1000, sum_of_ranks(4)));
      EXPECT_EQ(comm.transports(), row.used) << row.transport << " " << row.intra_host;
      EXPECT_EQ(comm.expected_transport(), row.used);
    });
  }
}

TEST(Hosts, WhatCannotCarryIsRefusedInWords) {
  for (const auto& [transport, intra_host] :
       {std::pair{"shm", "nic"}, std::pair{"auto", "shared"}}) {
    CommunicatorOptions options;
    options.transport = transport;
    options.intra_host = intra_host;
    const auto session =
        std::make_shared<LocalSession>(std::make_shared<Meeting>(), Rank{0}, std::vector<int>{0});
    try {
      static_cast<void>(Communicator::create(session, options));
      ADD_FAILURE() << transport << " " << intra_host;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
      EXPECT_NE(std::string(error.what()).find("ACCL_INTRA_HOST"), std::string::npos)
          << error.what();
    }
  }
}

TEST(Order, AnyOrderAndEitherDistanceFirst) {
  for (const First first : {First::near, First::far}) {
    CommunicatorOptions options;
    options.algorithm = "hd";
    options.first = first;
    for (const std::uint32_t r : {3u, 0u, 7u, 2u, 5u, 1u, 6u, 4u}) options.order.push_back(Rank{r});
    run_ranks(8, options, std::vector<int>(8, 0), [&](Communicator& comm) {
      auto data = filled(comm, 100003);
      comm.run(sum_of(data));
      EXPECT_EQ(data, std::vector<std::int32_t>(data.size(), sum_of_ranks(8)));
      // Blocks are ranks', wherever the ranks sit.
      std::vector<std::int32_t> mine(3, static_cast<std::int32_t>(index(comm.rank())));
      std::vector<std::int32_t> all(24);
      comm.run({.collective = Collective::allgather,
                .send = mine.data(),
                .recv = all.data(),
                .count = 3,
                .type = DataType::int32});
      for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i], static_cast<int>(i / 3));
    });
  }
}

TEST(Order, MustNameEveryRankOnce) {
  CommunicatorOptions options;
  options.order = {Rank{0}, Rank{0}};
  const auto session =
      std::make_shared<LocalSession>(std::make_shared<Meeting>(), Rank{0}, std::vector<int>{0, 0});
  EXPECT_THROW(Communicator::create(session, options), Error);
}

// Elements that `from` has for `to`: some none, some of several slices.
std::size_t elements_between(std::uint32_t from, std::uint32_t to) {
  return (from + to) % 3 == 0 ? 0 : (from * 5 + to) * 20011;
}

std::int32_t element_between(std::uint32_t from, std::uint32_t to, std::size_t i) {
  return static_cast<std::int32_t>(from * 1000000 + to * 100000 + i);
}

// What one rank sends or receives: blocks with `gap` elements between them.
struct Blocks {
  std::vector<std::size_t> counts, offsets;
  std::vector<std::int32_t> data;

  Blocks(std::uint32_t size, std::uint32_t me, bool is_sent, std::size_t gap, bool is_filled) {
    for (std::uint32_t r = 0; r < size; ++r) {
      const std::uint32_t from = is_sent ? me : r, to = is_sent ? r : me;
      data.resize(data.size() + gap, -1);
      offsets.push_back(data.size());
      counts.push_back(elements_between(from, to));
      for (std::size_t i = 0; i < counts.back(); ++i) {
        data.push_back(is_filled ? element_between(from, to, i) : -1);
      }
    }
  }
};

class EveryTransport : public ::testing::TestWithParam<const char*> {
 protected:
  CommunicatorOptions options() const {
    CommunicatorOptions options;
    options.transport = GetParam();
    return options;
  }
};

INSTANTIATE_TEST_SUITE_P(Transports, EveryTransport, ::testing::Values("shm", "tcp", "ucx"));

TEST_P(EveryTransport, AlltoallvMovesBlocksOfAllSizes) {
  constexpr std::uint32_t size = 4;
  run_ranks(size, options(), std::vector<int>(size, 0), [&](Communicator& comm) {
    const std::uint32_t me = index(comm.rank());
    const Blocks sent(size, me, true, 1, true), want(size, me, false, 3, true);
    Blocks got(size, me, false, 3, false);
    Call call{.collective = Collective::alltoallv, .type = DataType::int32};
    call.send = sent.data.data();
    call.recv = got.data.data();
    call.send_counts = sent.counts;
    call.send_offsets = sent.offsets;
    call.recv_counts = got.counts;
    call.recv_offsets = got.offsets;
    comm.run(call);
    EXPECT_EQ(got.data, want.data);
  });
}

// One way, then both ways at once, between two ranks.
void check_exchange(Communicator& comm, std::size_t count) {
  const bool is_first = comm.rank() == Rank{0};
  std::vector<std::int32_t> data(count, static_cast<std::int32_t>(count)), got(count);
  Call call{.collective = Collective::sendrecv, .type = DataType::int32};
  call.send = data.data();
  call.recv = got.data();
  call.count = is_first ? count : 0;
  call.recv_count = is_first ? 0 : count;
  call.to = is_first ? 1 : -1;
  call.from = is_first ? -1 : 0;
  comm.run(call);
  EXPECT_EQ(got, is_first ? std::vector<std::int32_t>(count) : data);
  call.count = call.recv_count = count;
  call.to = call.from = is_first ? 1 : 0;
  comm.run(call);
  EXPECT_EQ(got, data);
}

TEST_P(EveryTransport, SendsMeetReceives) {
  run_ranks(2, options(), {0, 0}, [&](Communicator& comm) {
    for (const std::size_t count : {1u, 1000u, 3000000u}) check_exchange(comm, count);
  });
}

// Ranks whose calls differ in count; returns how many were told so.
int count_mismatches(const CommunicatorOptions& options) {
  const auto meeting = std::make_shared<Meeting>();
  std::atomic<int> mismatches = 0;
  std::barrier<> seen(2);
  auto run_rank = [&](std::uint32_t r) {
    auto session = std::make_shared<LocalSession>(meeting, Rank{r}, std::vector<int>{0, 0});
    const auto comm = Communicator::create(session, options);
    std::vector<std::int32_t> data(200, 1);
    Call call = sum_of(data);
    call.count = r == 0 ? 100 : 120;
    try {
      comm->run(call);
    } catch (const Error& error) {
      mismatches += std::string(error.what()).starts_with("mismatch");
    }
    seen.arrive_and_wait();  // Or the first to see it would close the other's connection.
  };
  std::thread other(run_rank, 1);
  run_rank(0);
  other.join();
  return mismatches;
}

TEST_P(EveryTransport, DisagreementIsReportedNotComputed) {
  EXPECT_EQ(count_mismatches(options()), 2);
}

// An allreduce on accl_alloc memory; `round` varies the values.
void check_shared(Communicator& comm, std::span<std::int32_t> send, std::span<std::int32_t> recv,
                  std::int32_t round, ReduceOp op) {
  for (std::size_t i = 0; i < send.size(); ++i) {
    send[i] = static_cast<std::int32_t>((index(comm.rank()) + 1) * (i + round));
  }
  Call call{.send = send.data(), .recv = recv.data(), .count = send.size()};
  call.type = DataType::int32;
  call.op = op;
  comm.run(call);
  const std::int32_t ranks = sum_of_ranks(comm.size());
  for (std::size_t i = 0; i < send.size(); ++i) {
    const std::int32_t sum = ranks * (static_cast<std::int32_t>(i) + round);
    const auto size = static_cast<std::int32_t>(comm.size());
    ASSERT_EQ(recv[i], op == ReduceOp::avg ? sum / size : sum) << "round " << round << " at " << i;
  }
}

TEST(SharedUserMemory, IsReadInPlace) {
  constexpr std::size_t count = 500009;
  for (const std::uint32_t size : {2u, 4u}) {
    run_ranks(size, {}, std::vector<int>(size, 0), [&](Communicator& comm) {
      void* const memory = process_heap().allocate(2 * count * sizeof(std::int32_t));
      const std::span<std::int32_t> all(static_cast<std::int32_t*>(memory), 2 * count);
      const auto send = all.first(count), recv = all.last(count);
      check_shared(comm, send, recv, 0, ReduceOp::sum);
      check_shared(comm, recv, recv, 1, ReduceOp::sum);
      check_shared(comm, send, recv, 2, ReduceOp::avg);
      check_shared(comm, recv, recv, 3, ReduceOp::avg);
      comm.run({.collective = Collective::barrier});
      process_heap().free(memory);
    });
  }
}

// Each of two ranks overwrites, later in its list, what the other one reads: were they to wait for
// each other's reading, neither would go on.
TEST(SharedUserMemory, RanksDoNotWaitForEachOthersReading) {
  constexpr std::size_t count = 8008;
  for (const char* algorithm : {"rd", "hd", "bruck", "tree", "ring", "oneshot"}) {
    CommunicatorOptions options;
    options.algorithm = algorithm;
    run_ranks(4, options, std::vector<int>(4, 0), [&](Communicator& comm) {
      void* const memory = process_heap().allocate(2 * count * sizeof(std::int32_t));
      const std::span<std::int32_t> all(static_cast<std::int32_t*>(memory), 2 * count);
      const auto send = all.first(count), recv = all.last(count);
      check_shared(comm, send, recv, 0, ReduceOp::sum);
      check_shared(comm, recv, recv, 1, ReduceOp::sum);
      std::ranges::fill(send, static_cast<std::int32_t>(index(comm.rank())));
      comm.run({.collective = Collective::alltoall,
                .send = send.data(),
                .recv = recv.data(),
                .count = count / 4,
                .type = DataType::int32});
      for (std::size_t i = 0; i < count; ++i) {
        ASSERT_EQ(recv[i], static_cast<std::int32_t>(i / (count / 4))) << algorithm;
      }
      comm.run({.collective = Collective::barrier});
      process_heap().free(memory);
    });
  }
}

TEST(Heap, RefusesWhatItDidNotGive) {
  int on_stack = 0;
  EXPECT_THROW(process_heap().free(&on_stack), Error);
  EXPECT_EQ(process_heap().find(&on_stack, 1), nullptr);
}

TEST(Started, CallsOverlapAndEndInOrder) {
  run_ranks(3, {}, {0, 0, 0}, [&](Communicator& comm) {
    std::vector<std::vector<std::int32_t>> data;
    std::vector<std::unique_ptr<StartedCall>> requests;
    for (std::size_t i = 0; i < 20; ++i) data.push_back(filled(comm, i * 1000 + 1));
    for (auto& each : data) requests.push_back(comm.start(sum_of(each)));
    for (std::size_t i = 0; i < requests.size(); i += 2) requests[i]->wait();
    for (std::size_t i = 1; i < requests.size(); i += 2) {
      while (!requests[i]->test()) std::this_thread::yield();
    }
    for (const auto& each : data) {
      EXPECT_EQ(each, std::vector<std::int32_t>(each.size(), sum_of_ranks(3)));
    }
  });
}

// Rank 1 can only end if rank 0's part is driven while rank 0 does something else.
TEST(Started, CallsGoOnWhileNobodyWaits) {
  std::atomic<bool> other_is_done = false;
  run_ranks(2, {}, {0, 0}, [&](Communicator& comm) {
    auto data = filled(comm, 1000003);
    const auto request = comm.start(sum_of(data));
    if (comm.rank() == Rank{1}) {
      request->wait();
      other_is_done = true;
    }
    const Deadline deadline{Milliseconds(20000)};
    while (!other_is_done && !deadline.passed()) std::this_thread::sleep_for(Milliseconds(1));
    EXPECT_TRUE(other_is_done);
    if (comm.rank() == Rank{0}) request->wait();
    EXPECT_EQ(data, std::vector<std::int32_t>(data.size(), 3));
  });
}

TEST(Split, PartsAreCommunicatorsOfTheirOwnAndRunAtOnce) {
  run_ranks(6, {}, std::vector<int>(6, 0), [&](Communicator& comm) {
    const auto rank = static_cast<int>(index(comm.rank()));
    // Odd and even, in reverse; rank 5 stays out.
    const auto part = comm.split(rank == 5 ? -1 : rank % 2, -rank);
    EXPECT_EQ(part == nullptr, rank == 5);
    std::thread on_part([&] {
      for (int i = 0; part != nullptr && i < 50; ++i) {
        std::vector<std::int32_t> data(1000, rank);
        part->run(sum_of(data));
        EXPECT_EQ(data.front(), rank % 2 == 0 ? 6 : 4);
      }
    });
    for (int i = 0; i < 50; ++i) {
      auto data = filled(comm, 777);
      comm.run(sum_of(data));
      EXPECT_EQ(data.back(), sum_of_ranks(6));
    }
    on_part.join();
    if (part != nullptr) {
      EXPECT_EQ(index(part->rank()), rank % 2 == 0 ? (4u - static_cast<unsigned>(rank)) / 2
                                                   : (3u - static_cast<unsigned>(rank)) / 2);
    }
    comm.run({.collective = Collective::barrier});  // All parts are done.
  });
}

// Halving-doubling gathers only among an even number of ranks.
TEST(Split, WorksUnderEveryAlgorithm) {
  for (const char* algorithm : {"ring", "hd", "bruck", "tree", "twolevel", "pairwise", "chain"}) {
    CommunicatorOptions options;
    options.algorithm = algorithm;
    run_ranks(5, options, std::vector<int>(5, 0), [&](Communicator& comm) {
      const auto rank = static_cast<int>(index(comm.rank()));
      const auto part = comm.split(rank / 3, 0);
      EXPECT_EQ(part->size(), rank < 3 ? 3u : 2u) << algorithm;
    });
  }
}

TEST(Abort, UnblocksTheThreadInsideACall) {
  const auto meeting = std::make_shared<Meeting>();
  auto session = std::make_shared<LocalSession>(meeting, Rank{0}, std::vector<int>{0, 0});
  std::thread peer([&] {  // Connects and never takes part in the second call.
    auto other = std::make_shared<LocalSession>(meeting, Rank{1}, std::vector<int>{0, 0});
    const auto comm = Communicator::create(other, {});
    comm->run({.collective = Collective::barrier});
    std::this_thread::sleep_for(Milliseconds(500));
  });
  const auto comm = Communicator::create(session, {});
  comm->run({.collective = Collective::barrier});
  std::thread aborter([&] {
    std::this_thread::sleep_for(Milliseconds(100));
    comm->abort();
  });
  EXPECT_THROW(comm->run({.collective = Collective::barrier}), Error);
  EXPECT_THROW(comm->run({.collective = Collective::barrier}), Error);
  aborter.join();
  peer.join();
}

}  // namespace
}  // namespace accl::testing
