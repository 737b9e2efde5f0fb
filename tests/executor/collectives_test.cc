// collectives_test.cc - every algorithm over real transports, ranks as threads: results are exact,
// in place and out of place, for counts that do not divide, on one host and on several.
#include <gtest/gtest.h>

#include <algorithm>

#include "accl/calls.h"
#include "accl/communicator.h"
#include "tests/executor/run_ranks.h"

namespace accl::testing {
namespace {

std::int32_t value_at(std::uint32_t rank, std::size_t i) {
  return static_cast<std::int32_t>((rank + 1) * 1000003u + i * 7919u);
}

using Vector = std::vector<std::int32_t>;

// The right output of one rank, and which of its elements count (all others must be untouched).
struct Expected {
  Vector output;
  bool is_defined = true;  // This rank has an output at all.
};

Expected expected(Collective collective, std::uint32_t size, std::uint32_t rank, std::size_t count,
                  std::uint32_t root) {
  Expected want;
  auto sum = [&](std::size_t i) {  // Wraps, as the library's does.
    std::uint32_t total = 0;
    for (std::uint32_t r = 0; r < size; ++r) total += static_cast<std::uint32_t>(value_at(r, i));
    return static_cast<std::int32_t>(total);
  };
  const std::size_t blocks = is_blocks(collective) ? size : 1;
  for (std::size_t i = 0; i < count * blocks; ++i) {
    const auto block = static_cast<std::uint32_t>(i / count);
    const std::size_t j = i % count;
    switch (collective) {
      case Collective::allreduce:
      case Collective::reduce:
        want.output.push_back(sum(i));
        break;
      case Collective::broadcast:
        want.output.push_back(value_at(root, i));
        break;
      case Collective::allgather:
      case Collective::gather:
        want.output.push_back(value_at(block, j));
        break;
      case Collective::alltoall:
        want.output.push_back(value_at(block, rank * count + j));
        break;
      case Collective::reduce_scatter:
        if (block == rank) want.output.push_back(sum(i));
        break;
      case Collective::scatter:
        if (block == rank) want.output.push_back(value_at(root, i));
        break;
      default:
        want.output.push_back(value_at((rank + size - 1) % size, i));
    }
  }
  const bool root_only = collective == Collective::reduce || collective == Collective::gather;
  want.is_defined = !root_only || rank == root;
  return want;
}

bool has_in_place(Collective collective) {
  return collective != Collective::alltoall && collective != Collective::sendrecv;
}

std::size_t input_count(Collective collective, std::uint32_t size, std::size_t count) {
  const bool whole = collective == Collective::reduce_scatter ||
                     collective == Collective::alltoall || collective == Collective::scatter;
  return whole ? count * size : count;
}

// One call on one rank, checked.
void check_call(Communicator& comm, Collective collective, std::size_t count, std::uint32_t root,
                bool in_place) {
  const std::uint32_t rank = index(comm.rank());
  const Expected want = expected(collective, comm.size(), rank, count, root);
  const std::size_t in_count = input_count(collective, comm.size(), count);
  Vector input(in_count);
  for (std::size_t i = 0; i < in_count; ++i) input[i] = value_at(rank, i);
  const Vector before = input;
  Vector output(std::max(want.output.size(), in_count) + 1, -7);
  Call call{.collective = collective,
            .send = input.data(),
            .recv = output.data(),
            .count = count,
            .type = DataType::int32,
            .root = Rank{root}};
  if (collective == Collective::sendrecv) call.recv_count = count;
  if (in_place) {
    const bool own_in_output =
        collective == Collective::allgather || collective == Collective::gather;
    const bool own_in_input =
        collective == Collective::reduce_scatter || collective == Collective::scatter;
    std::copy(input.begin(), input.end(),
              output.begin() + static_cast<long>(own_in_output ? rank * count : 0));
    call.send = output.data() + (own_in_output ? rank * count : 0);
    call.recv = output.data() + (own_in_input ? rank * count : 0);
  }
  comm.run(call);
  if (want.is_defined) {
    const auto* const got = static_cast<const std::int32_t*>(call.recv);
    const auto wrong = std::mismatch(want.output.begin(), want.output.end(), got);
    EXPECT_EQ(wrong.first, want.output.end())
        << name_of(collective) << " rank " << rank << " count " << count << " root " << root
        << (in_place ? " in place" : "") << ": element " << wrong.first - want.output.begin()
        << " is " << *wrong.second << ", not " << *wrong.first;
  }
  EXPECT_EQ(output.back(), -7);
  if (!in_place) {
    EXPECT_EQ(input, before);
  }
}

struct Case {
  const Algorithm* algorithm;
  std::string transport;
};

class EveryAlgorithm : public ::testing::TestWithParam<Case> {};

std::vector<Case> every_case() {
  std::vector<Case> cases;
  for (const Algorithm& algorithm : algorithms()) {
    const Collective collective = algorithm.collective;  // The two others have tests of their own.
    if (collective == Collective::barrier || collective == Collective::alltoallv) continue;
    for (const char* transport : {"shm", "tcp", "ucx"}) cases.push_back({&algorithm, transport});
  }
  return cases;
}

void check_counts(Communicator& comm, Collective collective) {
  for (const std::size_t count : {1u, 2u, 5u, 17u, 1000u, 4099u, 300007u}) {
    if (comm.size() > 5 && count > 100000) continue;
    const std::uint32_t root = static_cast<std::uint32_t>(count) % comm.size();
    check_call(comm, collective, count, root, false);
    if (has_in_place(collective)) check_call(comm, collective, count, root, true);
  }
}

TEST_P(EveryAlgorithm, IsExact) {
  const auto& [algorithm, transport] = GetParam();
  const Collective collective = algorithm->collective;
  for (const std::uint32_t size : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 12u}) {
    if (!algorithm->fits({.size = size})) continue;
    // UCX takes long to start, and knows nothing of algorithms.
    if (transport == "ucx" && size != 3 && size != 8) continue;
    CommunicatorOptions options;
    options.algorithm = algorithm->name;
    options.transport = transport;
    run_ranks(size, options, std::vector<int>(size, 0),
              [&](Communicator& comm) { check_counts(comm, collective); });
  }
}

INSTANTIATE_TEST_SUITE_P(Catalog, EveryAlgorithm, ::testing::ValuesIn(every_case()),
                         [](const auto& info) {
                           return fmt::format("{}_{}_{}", name_of(info.param.algorithm->collective),
                                              info.param.algorithm->name, info.param.transport);
                         });

}  // namespace
}  // namespace accl::testing
