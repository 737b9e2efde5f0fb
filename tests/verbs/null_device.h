// null_device.h - turns an open context of the fake libibverbs into a device that takes everything
// that is posted and answers at once, with no lock and no copy: what is left is what our side
// costs. One channel at a time; its peer seems to release every message.
#pragma once

#include <arpa/inet.h>

#include <array>
#include <cstdint>

#include "transport/verbs/queue.h"

namespace accl::test {

class NullDevice {
 public:
  // From now on; `context` must be the one that the channel's queues belong to.
  static void take_over(ibv_context& context) {
    state() = {};
    context.ops.post_send = post_send;
    context.ops.post_recv = [](ibv_qp*, ibv_recv_wr*, ibv_recv_wr**) { return 0; };
    context.ops.poll_cq = poll_cq;
  }

  static std::uint64_t posted() { return state().posted; }

  // A message of the peer comes, which says this.
  static void deliver(std::uint32_t lane, std::uint32_t immediate) {
    state().lanes[lane].has_come = true;
    state().lanes[lane].immediate = immediate;
  }

 private:
  // A release answers so many messages, as a peer's that reads them in bulk.
  static constexpr std::uint32_t messages_per_release = 64;

  struct Lane {
    std::uint64_t signalled = 0;  // The last ticket to give back.
    bool has_signalled = false;
    std::uint32_t position = 0;  // Behind the last message.
    std::uint32_t unreleased = 0;
    bool has_come = false;  // A message of the peer.
    std::uint32_t immediate = 0;
  };
  struct State {
    std::array<Lane, 8> lanes{};
    std::uint64_t posted = 0;
  };

  static State& state() {
    static State one;
    return one;
  }

  static int post_send(ibv_qp*, ibv_send_wr* wr, ibv_send_wr**) {
    for (; wr != nullptr; wr = wr->next) {
      ++state().posted;
      Lane& lane = state().lanes[verbs::Ticket::unpack(wr->wr_id).lane];
      if ((wr->send_flags & IBV_SEND_SIGNALED) != 0) {
        lane.signalled = wr->wr_id;
        lane.has_signalled = true;
      }
      if (wr->opcode != IBV_WR_RDMA_WRITE_WITH_IMM) continue;
      lane.position = verbs::position_of(ntohl(wr->imm_data), lane.position);
      ++lane.unreleased;
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
      done[count] = {};
      done[count].opcode = IBV_WC_RECV;
      done[count].imm_data = htonl(lane.position);
      done[count++].wr_id = verbs::Ticket{.lane = i, .is_receive = true}.pack();
    }
    return count;
  }
};

}  // namespace accl::test
