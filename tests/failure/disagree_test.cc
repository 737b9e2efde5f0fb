// Ranks that disagree, through the C interface: each is told who differs in what, in one sentence
// that is the same on all ranks.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>

#include "accl/accl.h"
#include "accl/bootstrap/session.h"
#include "tests/bootstrap/crew.h"

namespace accl::test {
namespace {

constexpr std::uint32_t ranks = 4;
constexpr std::uint32_t odd_one = 2;  // The rank that calls something else.
constexpr int timeout_ms = 1500;

// What a rank calls.
struct Line {
  std::string call = "allreduce";
  std::size_t count = 3000;
  accl_data_type_t type = ACCL_FLOAT32;
  accl_op_t op = ACCL_SUM;
  int root = 0;
  std::string algorithm = "auto";
  int calls = 1;
};

accl_result_t make(const Line& line, accl_comm_t* comm, float* send, float* recv) {
  const std::size_t n = line.count;
  if (line.call == "broadcast") {
    return accl_broadcast(send, recv, n, line.type, line.root, comm);
  }
  if (line.call == "reduce") {
    return accl_reduce(send, recv, n, line.type, line.op, line.root, comm);
  }
  if (line.call == "barrier") return accl_barrier(comm);
  return accl_allreduce(send, recv, n, line.type, line.op, comm);
}

std::string play(const Line& line, const UniqueId& id, const std::string& transport,
                 const Stage& stage) {
  accl_unique_id_t api_id;
  std::memcpy(api_id.bytes, id.bytes.data(), sizeof api_id.bytes);
  const accl_config_t config{.size = sizeof config,
                             .algorithm = line.algorithm.c_str(),
                             .transport = transport.c_str(),
                             .timeout_ms = timeout_ms};
  accl_comm_t* comm = nullptr;
  const int rank = static_cast<int>(stage.rank());
  if (accl_comm_create(&comm, ranks, &api_id, rank, &config) != ACCL_SUCCESS) {
    return accl_last_error(nullptr);
  }
  std::vector<float> send(line.count), recv(line.count);
  accl_result_t result = ACCL_SUCCESS;
  for (int i = 0; i < line.calls && result == ACCL_SUCCESS; ++i) {
    result = make(line, comm, send.data(), recv.data());
  }
  // A call may end before the disagreement is found; the next one tells.
  if (result == ACCL_SUCCESS) result = accl_barrier(comm);
  std::string text = result == ACCL_SUCCESS ? "no error" : accl_last_error(comm);
  accl_comm_destroy(comm);
  return text;
}

struct Case {
  std::string name;
  Line all, other;
  std::vector<std::string> says;  // In every rank's sentence.
};

std::vector<Case> cases() {
  return {
      {"count", {}, {.count = 3001}, {"rank 2 ", "allreduce of 3001", "allreduce of 3000"}},
      {"type", {}, {.type = ACCL_INT32}, {"rank 2 ", "int32", "float"}},
      {"operation", {}, {.op = ACCL_MAX}, {"rank 2 ", "max", "sum"}},
      {"root",
       {.call = "broadcast"},
       {.call = "broadcast", .root = 3},
       {"rank 2 ", "root 3", "root 0"}},
      {"collective", {}, {.call = "barrier"}, {"rank 2 ", "barrier", "allreduce"}},
      {"algorithm", {.algorithm = "ring"}, {.algorithm = "hd"}, {"rank 2 ", "by hd", "by ring"}},
      {"calls", {.calls = 3}, {.calls = 2}, {"rank 2 ", "call 3"}},
  };
}

class Disagree : public testing::TestWithParam<std::tuple<std::string, Case>> {};

TEST_P(Disagree, AllAreToldWhoDiffersInWhat) {
  const auto& [transport, one] = GetParam();
  const UniqueId id = fresh_id();
  Crew crew(ranks, [&, &transport = transport, &one = one](Stage& stage) {
    stage.say(play(stage.rank() == odd_one ? one.other : one.all, id, transport, stage));
    return stage.hear();  // Stay until all have their verdict.
  });
  const std::vector<std::string> lines = crew.hear_all();
  for (std::uint32_t rank = 0; rank < ranks; ++rank) {
    for (const std::string& part : one.says) {
      EXPECT_NE(lines[rank].find(part), std::string::npos)
          << "rank " << rank << ": " << lines[rank];
    }
    EXPECT_EQ(lines[rank], lines[0]);
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, Disagree, testing::Combine(testing::Values("shm", "tcp"), testing::ValuesIn(cases())),
    [](const auto& info) { return std::get<0>(info.param) + "_" + std::get<1>(info.param).name; });

// Of size, at the API; of version, below it, where a test can say another one.
TEST(Disagree, InSizeIsToldToAll) {
  const UniqueId id = fresh_id();
  Crew crew(2, [&](Stage& stage) {
    accl_unique_id_t api_id;
    std::memcpy(api_id.bytes, id.bytes.data(), sizeof api_id.bytes);
    const accl_config_t config{.size = sizeof config,
                               .algorithm = nullptr,
                               .transport = nullptr,
                               .timeout_ms = timeout_ms};
    accl_comm_t* comm = nullptr;
    const int size = stage.rank() == 0 ? 2 : 3;
    const auto result =
        accl_comm_create(&comm, size, &api_id, static_cast<int>(stage.rank()), &config);
    return fmt::format("{} {}", static_cast<int>(result), accl_last_error(nullptr));
  });
  for (const std::string& line : crew.hear_all()) {
    EXPECT_TRUE(line.starts_with("2 ")) << line;
    // Whichever came first.
    EXPECT_NE(line.find("was started for"), std::string::npos) << line;
    EXPECT_NE(line.find("for 3"), std::string::npos) << line;
    EXPECT_NE(line.find("for 2"), std::string::npos) << line;
  }
}

TEST(Disagree, InVersionIsToldToAll) {
  const UniqueId id = fresh_id();
  Crew crew(3, [&](Stage& stage) {
    JoinOptions options = options_for(id, stage.rank(), 3, timeout_ms);
    if (stage.rank() == 1) options.version = "9.9";
    static_cast<void>(Session::join(options));
    return std::string("joined");
  });
  for (const std::string& line : crew.hear_all()) {
    EXPECT_NE(line.find("9.9"), std::string::npos) << line;
    EXPECT_NE(line.find("1.0"), std::string::npos) << line;
    EXPECT_NE(line.find("rank 1"), std::string::npos) << line;
  }
}

}  // namespace
}  // namespace accl::test
