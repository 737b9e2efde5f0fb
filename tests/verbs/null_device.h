// null_device.h - turns an open context of the fake libibverbs into a device that takes everything
// that is posted and answers at once, with no lock and no copy: what is left is what our side
// costs. One channel at a time; its peer seems to release every message.
#pragma once

#include <arpa/inet.h>

#include <array>
#include <cstdint>
#include <vector>

#include "transport/verbs/queue.h"
#include "transport/verbs/words.h"

namespace accl::test {

class NullDevice {
 public:
  static constexpr Geometry geometry{.lanes = 4, .ring_bytes = 1 << 20};

  // Before the channel is made: hears of its queues, which belong to `context`.
  static void listen(ibv_context& context) {
    state() = {};
    verbs_context* const extended = verbs_get_ctx(&context);
    state().create = extended->create_qp_ex;
    if (state().create != nullptr) extended->create_qp_ex = create;
  }

  // From now on.
  static void take_over(ibv_context& context, const verbs::Api& api) {
    for (ibv_qp* const pair : state().pairs) take_over(*api.qp_to_qp_ex(pair));
    context.ops.post_send = post_send;
    context.ops.post_recv = [](ibv_qp*, ibv_recv_wr*, ibv_recv_wr**) { return 0; };
    context.ops.poll_cq = poll_cq;
  }

  static std::uint64_t posted() { return state().posted; }

  // A message of the peer comes, which ends there.
  static void deliver(std::uint32_t number, std::uint32_t until, bool is_placed) {
    Lane& lane = state().lanes[number];
    lane.has_come = true;
    lane.immediate = immediates.pack({until, lane.released, is_placed});
  }

 private:
  // A release answers so many messages, as a peer's that reads them in bulk.
  static constexpr std::uint32_t messages_per_release = 64;
  static constexpr verbs::Immediates immediates{geometry.ring_bytes};

  struct Lane {
    std::uint64_t signalled = 0;  // The last ticket to give back.
    bool has_signalled = false;
    std::uint32_t position = 0, released = 0;  // Behind the last message, and that was released.
    std::uint32_t unreleased = 0;
    bool has_come = false;  // A message of the peer.
    std::uint32_t immediate = 0;
  };
  struct State {
    std::array<Lane, geometry.lanes> lanes{};
    std::uint64_t posted = 0;
    decltype(verbs_context::create_qp_ex) create = nullptr;
    std::vector<ibv_qp*> pairs{};  // That take ibv_wr_*.
  };

  static State& state() {
    static State one;
    return one;
  }

  static ibv_qp* create(ibv_context* context, ibv_qp_init_attr_ex* attributes) {
    ibv_qp* const pair = state().create(context, attributes);
    if (pair != nullptr) state().pairs.push_back(pair);
    return pair;
  }

  static void take_over(ibv_qp_ex& queue) {
    queue.wr_start = [](ibv_qp_ex*) {};
    queue.wr_complete = [](ibv_qp_ex*) { return 0; };
    queue.wr_send_imm = [](ibv_qp_ex* to, __be32) { take(to->wr_id, to->wr_flags); };
    queue.wr_rdma_write = [](ibv_qp_ex* to, std::uint32_t, std::uint64_t) {
      take(to->wr_id, to->wr_flags);
    };
    queue.wr_rdma_write_imm = [](ibv_qp_ex* to, std::uint32_t, std::uint64_t, __be32 value) {
      take_message(take(to->wr_id, to->wr_flags), value);
    };
    queue.wr_set_sge = [](ibv_qp_ex*, std::uint32_t, std::uint64_t, std::uint32_t) {};
    queue.wr_set_sge_list = [](ibv_qp_ex*, std::size_t, const ibv_sge*) {};
    queue.wr_set_inline_data = [](ibv_qp_ex*, void*, std::size_t) {};
  }

  static Lane& take(std::uint64_t ticket, unsigned flags) {
    ++state().posted;
    Lane& lane = state().lanes[verbs::Ticket::unpack(ticket).lane];
    if ((flags & IBV_SEND_SIGNALED) != 0) {
      lane.signalled = ticket;
      lane.has_signalled = true;
    }
    return lane;
  }

  static void take_message(Lane& lane, __be32 value) {
    lane.position = immediates.unpack(ntohl(value), lane.position, 0).until;
    ++lane.unreleased;
  }

  static int post_send(ibv_qp*, ibv_send_wr* wr, ibv_send_wr**) {
    for (; wr != nullptr; wr = wr->next) {
      Lane& lane = take(wr->wr_id, wr->send_flags);
      if (wr->opcode == IBV_WR_RDMA_WRITE_WITH_IMM) take_message(lane, wr->imm_data);
    }
    return 0;
  }

  static int poll_cq(ibv_cq*, int most, ibv_wc* done) {
    int count = 0;
    for (std::uint8_t i = 0; i < state().lanes.size() && count + 3 <= most; ++i) {
      Lane& lane = state().lanes[i];
      if (lane.has_signalled) {
        lane.has_signalled = false;
        done[count] = {};
        done[count++].wr_id = lane.signalled;
      }
      if (lane.has_come) {
        lane.has_come = false;
        done[count] = {};
        done[count].opcode = IBV_WC_RECV_RDMA_WITH_IMM;
        done[count].imm_data = htonl(lane.immediate);
        done[count++].wr_id = verbs::Ticket{.lane = i, .is_receive = true}.pack();
      }
      if (lane.unreleased < messages_per_release) continue;
      lane.unreleased = 0;
      lane.released = lane.position;
      done[count] = {};
      done[count].opcode = IBV_WC_RECV;
      done[count].imm_data = htonl(lane.position);
      done[count++].wr_id = verbs::Ticket{.lane = i, .is_receive = true}.pack();
    }
    return count;
  }
};

}  // namespace accl::test
