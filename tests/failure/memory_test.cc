// Memory at 64 ranks on one machine: what the library takes beyond the user's buffers, by the
// kernel's own count, while every rank holds its connections.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <limits>

#include "accl/accl.h"
#include "tests/bootstrap/crew.h"

namespace accl::test {
namespace {

constexpr std::uint32_t ranks = 64;
constexpr std::size_t allreduce_elements = std::size_t{4} << 20;  // 16 MiB.
constexpr std::size_t block_elements = std::size_t{64} << 10;     // 16 MiB for all ranks.
constexpr long limit_kib = 64 << 10;
constexpr int timeout_ms = 120'000;

// What this process has in memory, each page that it shares counted by its share; and the same with
// every shared page counted whole.
struct Usage {
  long pss_kib = 0, rss_kib = 0;
};

Usage usage() {
  std::ifstream file("/proc/self/smaps_rollup");
  Usage found;
  for (std::string word; file >> word;) {
    if (word == "Pss:") file >> found.pss_kib;
    if (word == "Rss:") file >> found.rss_kib;
  }
  return found;
}

accl_result_t run(accl_comm_t* comm, std::vector<float>& send, std::vector<float>& recv) {
  for (int i = 0; i < 2; ++i) {
    const accl_result_t all =
        accl_alltoall(send.data(), recv.data(), block_elements, ACCL_FLOAT32, comm);
    if (all != ACCL_SUCCESS) return all;
    const accl_result_t sum =
        accl_allreduce(send.data(), recv.data(), allreduce_elements, ACCL_FLOAT32, ACCL_SUM, comm);
    if (sum != ACCL_SUCCESS) return sum;
  }
  return accl_barrier(comm);
}

// "PSS RSS" in KiB beyond what was there before, or what went wrong.
std::string measure(const UniqueId& id, const std::string& transport, const Stage& stage) {
  std::vector<float> send(allreduce_elements, 1.0F), recv(allreduce_elements, 2.0F);
  const Usage before = usage();
  accl_unique_id_t api_id;
  std::memcpy(api_id.bytes, id.bytes.data(), sizeof api_id.bytes);
  const accl_config_t config{.size = sizeof config,
                             .algorithm = nullptr,
                             .transport = transport.c_str(),
                             .timeout_ms = timeout_ms};
  accl_comm_t* comm = nullptr;
  const int rank = static_cast<int>(stage.rank());
  if (accl_comm_create(&comm, ranks, &api_id, rank, &config) != ACCL_SUCCESS) {
    return accl_last_error(nullptr);
  }
  if (run(comm, send, recv) != ACCL_SUCCESS) return accl_last_error(comm);
  const Usage after = usage();
  const accl_result_t last = accl_barrier(comm);  // Nobody goes before all have looked.
  accl_comm_destroy(comm);
  if (last != ACCL_SUCCESS) return "the last barrier failed";
  return fmt::format("{} {}", after.pss_kib - before.pss_kib, after.rss_kib - before.rss_kib);
}

class Memory : public testing::TestWithParam<std::string> {};

TEST_P(Memory, Of64RanksIsAtMost64MiBEach) {
  const UniqueId id = fresh_id();
  Crew crew(ranks, [&](Stage& stage) { return measure(id, GetParam(), stage); });
  long most_pss = 0, most_rss = 0;
  for (const std::string& line : crew.hear_all(2 * timeout_ms)) {
    long pss = 0, rss = 0;
    EXPECT_EQ(std::sscanf(line.c_str(), "%ld %ld", &pss, &rss), 2) << line;
    most_pss = std::max(most_pss, pss);
    most_rss = std::max(most_rss, rss);
  }
  fmt::print("{}: {} KiB by share, {} KiB with every shared page in full\n", GetParam(), most_pss,
             most_rss);
  EXPECT_LE(most_pss, limit_kib);
  EXPECT_GT(most_pss, 0);
}

INSTANTIATE_TEST_SUITE_P(All, Memory, testing::Values("shm", "tcp"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace accl::test
