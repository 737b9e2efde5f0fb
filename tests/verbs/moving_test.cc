// moving_test.cc - connections that work go over to other paths when the file of ACCL_IB_PATHS
// changes, over the fake libibverbs: no message is lost or comes twice, and later ones have the new
// labels.
#include <infiniband/verbs.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "accl/base/text_file.h"
#include "tests/verbs/rig.h"
#include "tests/verbs/stream.h"

namespace accl::test {
namespace {

// The first device's labels to the second, and the second's to the first.
std::string paths_of(const std::string& first, const std::string& second) {
  return R"({"version": 1, "pairs": [
    {"from": "192.0.2.1", "to": "192.0.2.2", "classes": [)" +
         first + R"(]},
    {"from": "192.0.2.2", "to": "192.0.2.1", "classes": [)" +
         second + "]}]}";
}

class VerbsMoving : public VerbsExchange {
 protected:
  void SetUp() override {
    write_text(file_, paths_of(R"({"labels": [11]}, {"labels": [12]})",
                               R"({"labels": [21]}, {"labels": [22]}, {"labels": [23]})"));
    fake_.set_devices(2);
  }
  void write_new() const {
    write_text(file_, paths_of(R"({"labels": [13]}, {"labels": [14]}, {"labels": [15]})",
                               R"({"labels": [21]}, {"labels": [22]}, {"labels": [23]})"));
  }

  std::unique_ptr<Transport> make_one(std::uint32_t turn, Environment environment = {}) const {
    environment.try_emplace("ACCL_IB_PATHS", file_);
    return make(environment, false, turn);
  }

  std::uint64_t sent(const std::vector<std::uint32_t>& labels) const {
    std::uint64_t count = 0;
    for (const std::uint32_t label : labels) count += fake_.sent_by_label(label);
    return count;
  }

  // Exchanges messages, writes the new file meanwhile, and goes on until it is over, and then for
  // some more. `meanwhile` is called once, when queues drain. Gives what was logged.
  template <class Over, class Meanwhile>
  std::string move(const Joined& here, const Joined& there, Over is_over, Meanwhile meanwhile) {
    testing::internal::CaptureStderr();
    bool was_written = false, was_called = false;
    std::uint64_t by_old = 0, more = 8;
    const Deadline deadline(Milliseconds(5000));
    const auto look = [&](std::uint32_t taken) {
      if (taken > 50 && !std::exchange(was_written, true)) write_new();
      if (fake_.draining() > 0 && !std::exchange(was_called, true)) meanwhile();
    };
    const auto wants_more = [&] {
      if (deadline.passed()) return false;
      if (!is_over()) return true;
      if (more == 8) by_old = sent({11, 12});
      return more-- > 0;
    };
    const std::string words = exchange(here, there, look, wants_more);
    EXPECT_EQ(sent({11, 12}), by_old) << "with a label that was left";
    const std::string log = testing::internal::GetCapturedStderr();
    EXPECT_EQ(words, "") << log;
    EXPECT_TRUE(is_over()) << log;
    return log;
  }
  std::string move(const Joined& here, const Joined& there) {
    return move(
        here, there, [&] { return has_moved(); }, [] {});
  }
  static std::string exchange_for(const Joined& here, const Joined& there, int milliseconds) {
    const Deadline deadline{Milliseconds(milliseconds)};
    return exchange(
        here, there, [](std::uint32_t) {}, [&] { return !deadline.passed(); });
  }
  // Both lanes of the first device, which is rank 0's.
  bool has_moved() const { return fake_.sent_by_label(14) > 0 && fake_.sent_by_label(15) > 0; }

  const std::string file_ = testing::TempDir() + "/verbs-moving-paths.json";
};

constexpr const char* by_drain =
    "connection to rank 1 moved from flow labels 12, 11 to 14, 15 by SQD";
constexpr const char* by_queues = "moved from flow labels 12, 11 to 14, 15 by new queues: ";

TEST_F(VerbsMoving, AQueueDrainsAndGoesOnWithTheNewLabel) {
  for (const int looks : {0, 1, 4}) {
    fake_.reset();
    SetUp();
    auto [here, there] = join(make_one(0), make_one(1));
    fake_.set_drain(looks);
    const std::string log = move(here, there);
    EXPECT_TRUE(holds(log, by_drain)) << looks << " looks: " << log;
    EXPECT_FALSE(holds(log, "new queues")) << log;
    EXPECT_FALSE(holds(log, "connection to rank 0")) << "its labels are what they were: " << log;
    EXPECT_FALSE(holds(log, "other event")) << "the end of a drain is nothing to warn of: " << log;
    EXPECT_EQ(here.endpoint->failure() + there.endpoint->failure(), "");
  }
}

TEST_F(VerbsMoving, AnMlx5DeviceGoesOnAtOnce) {
  auto [here, there] = join(make_one(0), make_one(1));
  fake_.set_mlx5(1);
  const std::string log = move(here, there);
  EXPECT_TRUE(holds(log, "connection to rank 1 moved from flow labels 12, 11 to 14, 15 at once"))
      << log;
  EXPECT_FALSE(holds(log, "SQD") || holds(log, "new queues")) << log;
  EXPECT_EQ(here.endpoint->failure() + there.endpoint->failure(), "");
}

TEST_F(VerbsMoving, AQueueDrainsWhereAnMlx5DeviceRefuses) {
  auto [here, there] = join(make_one(0), make_one(1));
  fake_.set_mlx5(-1);
  const std::string log = move(here, there);
  EXPECT_TRUE(holds(log, by_drain)) << log;
}

TEST_F(VerbsMoving, NewQueuesDoItWhereTheDeviceCannotDrain) {
  auto [here, there] = join(make_one(0), make_one(1));
  fake_.set_drain(-1);
  const std::string log = move(here, there);
  EXPECT_TRUE(holds(log, by_queues)) << log;
  EXPECT_TRUE(holds(log, "knows no SQD: Invalid argument")) << log;
  EXPECT_TRUE(holds(log, "it moves to other paths")) << log;
  EXPECT_FALSE(holds(log, "warning")) << log;
  std::array<std::uint32_t, 8> labels{};
  ASSERT_EQ(fake_.labels(labels.data(), labels.size()), labels.size());
  std::ranges::sort(std::span(labels).subspan(4));
  EXPECT_EQ(std::vector(labels.begin() + 4, labels.end()),
            (std::vector<std::uint32_t>{14, 15, 21, 22}));
}

TEST_F(VerbsMoving, NewQueuesDoItWhereADrainNeverEnds) {
  auto [here, there] = join(make_one(0), make_one(1));
  fake_.set_drain(1 << 30);
  const std::string log = move(here, there);
  EXPECT_TRUE(holds(log, by_queues)) << log;
  EXPECT_TRUE(holds(log, "does not drain: nothing is acknowledged")) << log;
}

TEST_F(VerbsMoving, TheDeviceMayDieMeanwhile) {
  fake_.set_drain(1 << 30);
  auto [here, there] = join(make_one(0), make_one(1));
  const auto is_elsewhere = [&, &here = here] { return holds(here.endpoint->path(), "fake1"); };
  const std::string log = move(here, there, is_elsewhere, [&] {
    fake_.set_link(0, 0, 1);
    fake_.raise(IBV_EVENT_DEVICE_FATAL);
  });
  EXPECT_TRUE(holds(log, "local catastrophic error")) << log;
  EXPECT_TRUE(is_elsewhere());
}

// Nothing but the new labels comes of it here.
TEST_F(VerbsMoving, ThePeerMayAskForNewQueuesMeanwhile) {
  fake_.set_drain(1 << 30);
  auto [here, there] = join(make_one(0), make_one(1));
  write_new();
  testing::internal::CaptureStderr();
  for (const Deadline deadline(patience); fake_.draining() == 0 && !deadline.passed();) {
    step(here, there);
  }
  EXPECT_EQ(fake_.draining(), geometry.lanes);
  Ring ours(geometry.ring_bytes), theirs(geometry.ring_bytes);
  EXPECT_EQ(fill(*here.endpoint, ours, 8), 0U) << "nothing may leave";
  fake_.break_request(1, IBV_WC_RETRY_EXC_ERR, 0);
  EXPECT_GT(fill(*there.endpoint, theirs, 8), 0U);
  const auto has_arrived = [&, &here = here] {
    return reached(here.endpoint->counters(0).arrived, theirs.position());
  };
  for (const Deadline deadline(patience); !has_arrived() && !deadline.passed();) step(here, there);
  EXPECT_TRUE(has_arrived());
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(holds(log, "it asked for new queues")) << log;
  EXPECT_FALSE(holds(log, "does not drain")) << log;
  EXPECT_GT(fill(*here.endpoint, ours, 8), 0U);
  poll_until_arrived(there, ours.position());
  EXPECT_GT(sent({14}), 0U) << "of lane 0";
  EXPECT_EQ(sent({11, 12, 13, 15}), 0U);
}

TEST_F(VerbsMoving, ThePeerMayLeaveMeanwhile) {
  fake_.set_drain(1 << 30);
  auto [here, there] = join(make_one(0), make_one(1));
  write_new();
  for (const Deadline deadline(patience); fake_.draining() == 0 && !deadline.passed();) {
    step(here, there);
  }
  EXPECT_FALSE(here.transport->arm()) << "time alone ends a drain";
  there.endpoint.reset();
  for (const Deadline deadline(patience); !here.endpoint->broken() && !deadline.passed();) {
    here.transport->poll();
    static_cast<void>(here.transport->arm());
    here.transport->disarm();
  }
  EXPECT_TRUE(holds(here.endpoint->failure(), "closed by it")) << here.endpoint->failure();
  EXPECT_TRUE(here.transport->arm()) << "nothing is left to be done";
}

// Whichever call fails from the beginning of a drain on, of looking, of moving, and of new queues.
TEST_F(VerbsMoving, WhicheverCallFailsTheMessagesArrive) {
  for (std::uint32_t k = 1; k < 13; k += k < 4 ? 1 : 3) {
    fake_.reset();
    SetUp();
    fake_.set_drain(2);
    auto [here, there] = join(make_one(0), make_one(1));
    const auto has_moved_now = [&] { return sent({13, 14, 15}) > 100; };
    static_cast<void>(move(here, there, has_moved_now, [&] { fake_.fail_call(k, EIO); }));
    ASSERT_FALSE(HasFailure()) << "call " << k;
  }
}

TEST_F(VerbsMoving, AFileThatIsNoneChangesNothing) {
  auto [here, there] = join(make_one(0), make_one(1));
  testing::internal::CaptureStderr();
  write_text(file_, "half of it");
  const std::uint64_t before = sent({11, 12});
  EXPECT_EQ(exchange_for(here, there, 1300), "");
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(holds(log, "is no JSON")) << log;
  EXPECT_TRUE(holds(log, "the paths known before stay")) << log;
  EXPECT_EQ(fake_.labels(nullptr, 0), 4U) << "no new queues";
  EXPECT_GT(sent({11, 12}), before);
}

TEST_F(VerbsMoving, LabelsByHandStay) {
  const Environment by_hand{{"ACCL_IB_FLOW_LABELS", "7"}};
  auto [here, there] = join(make_one(0, by_hand), make_one(1, by_hand));
  write_new();
  EXPECT_EQ(exchange_for(here, there, 1300), "");
  EXPECT_FALSE(has_moved());
  EXPECT_GT(sent({7}), 100U);
}

// --- How many paths ------------------------------------------------------------------------------

TEST_F(VerbsMoving, LanesMayShareLabels) {
  const auto labels_under = [&](const Environment& environment) {
    fake_.reset();
    SetUp();
    auto [here, there] = join(make_one(0, environment), make_one(1, environment));
    std::vector<std::uint32_t> labels(fake_.labels(nullptr, 0));
    fake_.labels(labels.data(), static_cast<std::uint32_t>(labels.size()));
    std::ranges::sort(labels);
    return labels;
  };
  using Labels = std::vector<std::uint32_t>;
  EXPECT_EQ(labels_under({}), (Labels{11, 12, 21, 22}));
  EXPECT_EQ(labels_under({{"ACCL_IB_QPS_PER_CONNECTION", "2"}}), (Labels{11, 12, 21, 22}));
  EXPECT_EQ(labels_under({{"NCCL_IB_QPS_PER_CONNECTION", "1"}}), (Labels{12, 12, 21, 21}));
  const Environment one{{"NCCL_IB_QPS_PER_CONNECTION", "1"}, {"ACCL_IB_FLOW_LABELS", "7,9"}};
  EXPECT_EQ(labels_under(one), (Labels{7, 7, 7, 7}));
  Labels unpinned = labels_under({{"NCCL_IB_QPS_PER_CONNECTION", "1"}, {"ACCL_IB_PATHS", ""}});
  EXPECT_EQ(unpinned.size(), 4U);
  EXPECT_EQ(std::ranges::unique(unpinned).size(), 2U) << "one a rank";
}

TEST_F(VerbsMoving, WhatIsSplitIsTold) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(settings_of({{"NCCL_IB_QPS_PER_CONNECTION", "16"}}).paths_per_connection, 4U);
  EXPECT_EQ(settings_of({{"NCCL_IB_SPLIT_DATA_ON_QPS", "1"}}).paths_per_connection, 4U);
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(holds(log, "NCCL_IB_SPLIT_DATA_ON_QPS=1 is not applicable")) << log;
  for (const auto& [name, value] : Environment{{"ACCL_IB_QPS_PER_CONNECTION", "0"},
                                               {"NCCL_IB_QPS_PER_CONNECTION", "129"},
                                               {"NCCL_IB_SPLIT_DATA_ON_QPS", "2"},
                                               {"ACCL_NET_GDR_READ", "maybe"}}) {
    const std::string words = words_of_error(
        [&, &name = name, &value = value] {
          static_cast<void>(settings_of({{name, value}}));
        },
        ErrorKind::invalid_argument);
    EXPECT_TRUE(holds(words, name)) << words;
  }
}

}  // namespace
}  // namespace accl::test
