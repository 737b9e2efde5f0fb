// ways_test.cc - the two ways by which requests get to a device: ibv_wr_* and ibv_post_send. Which
// is taken, and that both do the same.
#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "tests/verbs/rig.h"
#include "tests/verbs/stream.h"
#include "transport/verbs/posting.h"

namespace accl::test {
namespace {

class VerbsWays : public VerbsExchange {
 protected:
  // What a device gives for ibv_create_qp_ex where it has no ibv_wr_*; -1: it does not know it.
  static constexpr std::array refusals{-1, EOPNOTSUPP, ENOSYS, EINVAL};
};

TEST_F(VerbsWays, TheNewCallsAreTakenWhereTheDeviceHasThem) {
  for (const char* const way : {"", "auto", "wr"}) {
    fake_.reset();
    auto [here, there] = join(make({{"ACCL_IB_POST", way}}), make());
    EXPECT_EQ(exchange(here, there), "");
    EXPECT_GT(fake_.counts().extended, 100U);
    EXPECT_EQ(fake_.counts().extended, fake_.counts().doorbells);
  }
}

TEST_F(VerbsWays, ElsewhereALineSaysOnceThatTheOldOneIsTaken) {
  for (const int error : refusals) {
    fake_.reset();
    fake_.set_extended(error);
    testing::internal::CaptureStderr();
    {
      auto [here, there] = join(make(), make());
      EXPECT_EQ(exchange(here, there), "");
      EXPECT_EQ(fake_.counts().extended, 0U);
      EXPECT_GT(fake_.counts().doorbells, 100U);
    }
    const std::string log = testing::internal::GetCapturedStderr();
    const std::string line = "fake0 port 1, GID 1 (192.0.2.1) has no ibv_wr_* (";
    const std::size_t first = log.find(line);
    ASSERT_NE(first, log.npos) << log;
    const std::size_t second = log.find(line, first + 1);
    EXPECT_NE(second, log.npos) << "each of the two ranks has its own port";
    EXPECT_EQ(log.find(line, second + 1), log.npos) << log;
  }
}

TEST_F(VerbsWays, TheUserMayWantTheOldOne) {
  auto [here, there] = join(make({{"ACCL_IB_POST", "classic"}}), make());
  Ring ring(geometry.ring_bytes);
  fake_.reset();
  EXPECT_GT(fill(*here.endpoint, ring, 8), 0U);
  EXPECT_EQ(fake_.counts().extended, 0U);
  EXPECT_GT(fake_.counts().doorbells, 0U);
  poll_until_arrived(there, ring.position());
}

TEST_F(VerbsWays, TheNewCallsForcedWhereThereAreNoneAreAnError) {
  for (const int error : refusals) {
    fake_.set_extended(error);
    const std::string words = words_of_error(
        [&] {
          static_cast<void>(join(make({{"ACCL_IB_POST", "wr"}}), make()));
        },
        ErrorKind::invalid_argument);
    EXPECT_TRUE(holds(words, "ACCL_IB_POST=wr: verbs: fake0 port 1")) << words;
    EXPECT_TRUE(holds(words, "give auto or classic")) << words;
    EXPECT_FALSE(holds(words, "\n")) << words;
  }
}

TEST_F(VerbsWays, APortOfOneKindTakesOverForOneOfTheOther) {
  for (const bool has_them_first : {true, false}) {
    fake_.reset();
    fake_.set_devices(2);
    fake_.set_extended(has_them_first ? 0 : -1);
    auto [here, there] = join(make(), make());
    bool has_died = false;
    const std::string words = exchange(here, there, [&](std::uint32_t taken) {
      if (taken < 20 || std::exchange(has_died, true)) return;
      fake_.set_extended(has_them_first ? -1 : 0);
      fake_.set_link(0, 0, 1);
    });
    EXPECT_EQ(words, "");
    EXPECT_NE(here.endpoint->path().find("fake1"), std::string::npos) << here.endpoint->path();
    EXPECT_GT(fake_.counts().extended, 0U);
    EXPECT_GT(fake_.counts().doorbells, fake_.counts().extended);
  }
}

// --- What post() hands over ----------------------------------------------------------------------

// Two queue pairs of one port that reach each other, and their memory.
class Couple {
 public:
  explicit Couple(const verbs::Settings& settings)
      : rails_(settings),
        queue_(port().api().create_cq(port().context(), 64, nullptr, nullptr, 0),
               port().api().destroy_cq) {
    for (verbs::Pair& pair : pairs_) {
      ibv_qp_init_attr wanted{};
      wanted.send_cq = wanted.recv_cq = queue_.get();
      wanted.qp_type = IBV_QPT_RC;
      wanted.cap = {8, 8, verbs::most_gathered, 1, 64};
      pair = verbs::create_pair(port(), wanted);
    }
    region_ = port().add(std::as_writable_bytes(std::span(memory)), true);
    for (std::size_t i = 0; i < 2; ++i) connect(*pairs_[i].queues, *pairs_[1 - i].queues);
  }

  std::span<ibv_wc> take() {
    const int count = ::ibv_poll_cq(queue_.get(), static_cast<int>(done_.size()), done_.data());
    return {done_.data(), static_cast<std::size_t>(count)};
  }
  verbs::Pair& pair() { return pairs_[0]; }
  std::uint64_t at(std::size_t byte) const {
    return reinterpret_cast<std::uint64_t>(memory.data() + byte);
  }
  std::uint32_t key() const { return region_->lkey; }
  ibv_sge piece(std::size_t byte, std::uint32_t bytes) const { return {at(byte), bytes, key()}; }

  std::array<char, 256> memory{};

 private:
  verbs::Port& port() { return rails_.port(0); }
  void connect(ibv_qp& pair, ibv_qp& to) {
    for (const ibv_qp_state state : {IBV_QPS_INIT, IBV_QPS_RTR, IBV_QPS_RTS}) {
      ibv_qp_attr attributes{};
      attributes.qp_state = state;
      attributes.dest_qp_num = to.qp_num;
      EXPECT_EQ(port().api().modify_qp(&pair, &attributes, IBV_QP_STATE | IBV_QP_DEST_QPN), 0);
    }
    for (int i = 0; i < 4; ++i) {
      ibv_recv_wr receive{}, *refused = nullptr;
      EXPECT_EQ(::ibv_post_recv(&pair, &receive, &refused), 0);
    }
  }

  Rails rails_;
  verbs::Owned<ibv_cq> queue_;
  verbs::Owned<ibv_mr> region_{nullptr, nullptr};
  std::array<verbs::Pair, 2> pairs_{
      {{.queues = {nullptr, nullptr}}, {.queues = {nullptr, nullptr}}}};
  std::array<ibv_wc, 16> done_{};
};

class VerbsPost : public VerbsFake, public testing::WithParamInterface<const char*> {};

TEST_P(VerbsPost, AChainOfAllKindsArrivesInOrder) {
  Couple couple(settings_of({{"ACCL_IB_POST", GetParam()}}));
  EXPECT_EQ(couple.pair().extended != nullptr, std::string(GetParam()) == "wr");
  std::ranges::copy(std::string("abcdefgh"), couple.memory.begin());
  std::array<ibv_send_wr, 4> chain{};
  for (std::size_t i = 0; i < chain.size(); ++i) {
    chain[i].wr_id = i + 1;
    chain[i].next = i + 1 < chain.size() ? &chain[i + 1] : nullptr;
    chain[i].wr.rdma.rkey = couple.key();
    chain[i].wr.rdma.remote_addr = couple.at(100 + 10 * i);
  }
  chain[0].opcode = IBV_WR_SEND_WITH_IMM;
  chain[0].imm_data = htonl(7);
  std::array first{couple.piece(0, 2)};
  std::array second{couple.piece(0, 2), couple.piece(4, 3)};
  chain[1].opcode = IBV_WR_RDMA_WRITE;
  chain[1].sg_list = first.data();
  chain[1].num_sge = 1;
  chain[2].opcode = IBV_WR_RDMA_WRITE;
  chain[2].sg_list = &second[1];
  chain[2].num_sge = 1;
  chain[2].send_flags = IBV_SEND_INLINE;
  chain[3] = chain[2];
  chain[3].sg_list = second.data();
  chain[3].num_sge = 2;
  chain[3].wr_id = 4;
  chain[3].next = nullptr;
  chain[3].opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
  chain[3].imm_data = htonl(9);
  chain[3].wr.rdma.remote_addr = couple.at(130);
  chain[3].send_flags = IBV_SEND_SIGNALED;
  ASSERT_EQ(verbs::post(couple.pair(), chain[0]), 0);
  EXPECT_EQ(std::string(&couple.memory[110]), "ab");
  EXPECT_EQ(std::string(&couple.memory[120]), "efg");
  EXPECT_EQ(std::string(&couple.memory[130]), "abefg");
  std::vector<std::uint32_t> values, sent;
  for (const ibv_wc& done : couple.take()) {
    const bool is_receive = (done.wc_flags & IBV_WC_WITH_IMM) != 0;
    (is_receive ? values : sent)
        .push_back(is_receive ? ntohl(done.imm_data) : static_cast<std::uint32_t>(done.wr_id));
  }
  EXPECT_EQ(values, (std::vector<std::uint32_t>{7, 9}));
  EXPECT_EQ(sent, std::vector<std::uint32_t>{4});
  EXPECT_EQ(fake_.counts().doorbells, 1U);
}

TEST_P(VerbsPost, WhatTheDeviceRefusesIsNotPosted) {
  Couple couple(settings_of({{"ACCL_IB_POST", GetParam()}}));
  ibv_send_wr word{};
  word.opcode = IBV_WR_SEND_WITH_IMM;
  word.send_flags = IBV_SEND_SIGNALED;
  fake_.fail_call(1, EIO);
  EXPECT_EQ(verbs::post(couple.pair(), word), EIO);
  EXPECT_EQ(couple.take().size(), 0U);
  EXPECT_EQ(verbs::post(couple.pair(), word), 0);
  EXPECT_EQ(couple.take().size(), 2U);
}

INSTANTIATE_TEST_SUITE_P(Ways, VerbsPost, testing::Values("wr", "classic"));

}  // namespace
}  // namespace accl::test
