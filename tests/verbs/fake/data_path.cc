// data_path.cc - queues of one process that reach each other: a write is a copy, at once.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "tests/verbs/fake/state.h"

namespace accl::fake {
namespace {

void complete(ibv_cq* queue, const ibv_wc& wc) {
  Cq& cq = *static_cast<Cq*>(queue);
  if (cq.done.is_full()) return violate("a completion queue overflowed");
  cq.done.push(wc);
  if (!cq.is_armed || cq.channel == nullptr) return;
  cq.is_armed = false;
  static_cast<Channel*>(cq.channel)->events.push(&cq);
  const std::uint64_t one = 1;
  static_cast<void>(!::write(cq.channel->fd, &one, sizeof one));
}

ibv_wc wc_of(std::uint64_t id, ibv_wc_status status, ibv_wc_opcode opcode, const Qp& qp) {
  ibv_wc wc{};
  wc.wr_id = id;
  wc.status = status;
  wc.opcode = opcode;
  wc.qp_num = qp.qp_num;
  return wc;
}

}  // namespace

void fall_into_error(Qp& qp) {
  if (qp.state == IBV_QPS_ERR) return;
  qp.state = IBV_QPS_ERR;
  std::erase_if(state().held, [&](const Held& one) {
    if (one.queue != qp.qp_num) return false;
    complete(qp.send_cq, wc_of(one.wr.wr_id, IBV_WC_WR_FLUSH_ERR, IBV_WC_RDMA_WRITE, qp));
    return true;
  });
  for (; !qp.receives.is_empty(); qp.receives.pop()) {
    complete(qp.recv_cq, wc_of(qp.receives.front(), IBV_WC_WR_FLUSH_ERR, IBV_WC_RECV, qp));
  }
}

namespace {

void fail_send(Qp& qp, const Request& request, ibv_wc_status status) {
  complete(qp.send_cq, wc_of(request.id, status, IBV_WC_RDMA_WRITE, qp));
  fall_into_error(qp);
}

void succeed(Qp& qp, const Request& request) {
  if (!request.is_signalled) return;
  complete(qp.send_cq, wc_of(request.id, IBV_WC_SUCCESS, IBV_WC_RDMA_WRITE, qp));
}

void receive(Qp& qp, const Qp::Late& message) {
  ibv_wc wc = wc_of(qp.receives.front(), IBV_WC_SUCCESS, message.opcode, qp);
  wc.imm_data = message.value;
  wc.wc_flags = IBV_WC_WITH_IMM;
  wc.byte_len = message.bytes;
  qp.receives.pop();
  complete(qp.recv_cq, wc);
}

Qp* peer_of(const Qp& qp) {
  const auto found = state().queues.find(qp.peer);
  if (found == state().queues.end()) return nullptr;
  Qp* const peer = found->second;
  const bool is_ours = peer->peer == qp.qp_num && peer->first_awaited == qp.first_sent;
  const bool can_receive =
      peer->state == IBV_QPS_RTR || peer->state == IBV_QPS_RTS || peer->state == IBV_QPS_SQD;
  return is_ours && can_receive ? peer : nullptr;
}

// Copies what a write brings. Not success: why it cannot.
ibv_wc_status carry(const Qp& qp, const ibv_send_wr& wr, std::uint32_t& bytes) {
  const bool is_inline = (wr.send_flags & IBV_SEND_INLINE) != 0;
  for (int i = 0; i < wr.num_sge; ++i) bytes += wr.sg_list[i].length;
  if (is_inline && bytes > inline_bytes) violate("more inline than the queue takes");
  if (static_cast<std::size_t>(wr.num_sge) > qp.gathers)
    violate("more pieces than the queue takes");
  if (bytes == 0) return IBV_WC_SUCCESS;
  const Mr* const target = region_of(wr.wr.rdma.rkey, wr.wr.rdma.remote_addr, bytes);
  if (target == nullptr || (target->access & IBV_ACCESS_REMOTE_WRITE) == 0) {
    return IBV_WC_REM_ACCESS_ERR;
  }
  std::byte* to = bytes_at(*target, wr.wr.rdma.remote_addr);
  for (int i = 0; i < wr.num_sge; ++i) {
    const ibv_sge& piece = wr.sg_list[i];
    const Mr* const source = is_inline ? nullptr : region_of(piece.lkey, piece.addr, piece.length);
    if (!is_inline && source == nullptr) return IBV_WC_LOC_PROT_ERR;
    const void* const from = source != nullptr ? bytes_at(*source, piece.addr)
                                               : reinterpret_cast<const void*>(piece.addr);
    std::memcpy(to, from, piece.length);
    to += piece.length;
  }
  return IBV_WC_SUCCESS;
}

ibv_wc_status read_back(const ibv_send_wr& wr) {
  const ibv_sge& to = wr.sg_list[0];
  const Mr* const source = region_of(wr.wr.rdma.rkey, wr.wr.rdma.remote_addr, to.length);
  const Mr* const target = region_of(to.lkey, to.addr, to.length);
  if (source == nullptr || (source->access & IBV_ACCESS_REMOTE_READ) == 0) {
    return IBV_WC_REM_ACCESS_ERR;
  }
  if (target == nullptr || (target->access & IBV_ACCESS_LOCAL_WRITE) == 0) {
    return IBV_WC_LOC_PROT_ERR;
  }
  std::memcpy(bytes_at(*target, to.addr), bytes_at(*source, wr.wr.rdma.remote_addr), to.length);
  ++state().counts.reads;
  return IBV_WC_SUCCESS;
}

bool is_held(const Qp& qp) {
  const auto is_ours = [&](const Held& one) { return one.queue == qp.qp_num; };
  return state().holding == 1 ||
         (state().holding == 2 && std::ranges::any_of(state().held, is_ours));
}

void hold(const Qp& qp, const ibv_send_wr& wr) {
  Held& held = state().held.emplace_back();
  held.queue = qp.qp_num;
  held.wr = wr;
  std::copy_n(wr.sg_list, wr.num_sge, held.pieces.data());
}

void send(Qp& qp, const ibv_send_wr& wr) {
  State& all = state();
  if (is_held(qp)) return hold(qp, wr);
  const Request request{wr.wr_id, (wr.send_flags & IBV_SEND_SIGNALED) != 0};
  ++all.sent_by_label[qp.path.grh.flow_label % all.sent_by_label.size()];
  const bool breaks = ++all.posted == all.breaking_request;
  const auto status = static_cast<ibv_wc_status>(all.breaking_status);
  if (breaks && !all.is_broken_delivered) return fail_send(qp, request, status);
  Qp* const peer = peer_of(qp);
  const bool has_links = has_link(qp.context) && (peer == nullptr || has_link(peer->context));
  if (peer == nullptr || !has_links) return fail_send(qp, request, IBV_WC_RETRY_EXC_ERR);
  Qp::Late message{.opcode = IBV_WC_RECV, .value = wr.imm_data, .bytes = 0, .request = request};
  if (wr.opcode == IBV_WR_RDMA_READ) {
    const ibv_wc_status status = read_back(wr);
    return status == IBV_WC_SUCCESS ? succeed(qp, request) : fail_send(qp, request, status);
  }
  if (wr.opcode == IBV_WR_RDMA_WRITE) {
    const ibv_wc_status carried = carry(qp, wr, message.bytes);
    ++all.counts.unannounced;
    if (carried != IBV_WC_SUCCESS) return fail_send(qp, request, carried);
    return breaks ? fail_send(qp, request, status) : succeed(qp, request);
  }
  if (wr.opcode == IBV_WR_RDMA_WRITE_WITH_IMM) {
    message.opcode = IBV_WC_RECV_RDMA_WITH_IMM;
    const ibv_wc_status carried = carry(qp, wr, message.bytes);
    if (carried != IBV_WC_SUCCESS) return fail_send(qp, request, carried);
    if (wr.opcode == IBV_WR_RDMA_WRITE) return succeed(qp, request);
  } else if (wr.opcode != IBV_WR_SEND_WITH_IMM || wr.num_sge != 0) {
    violate("a request this fake does not know");
  }
  if (peer->receives.is_empty() || !qp.waiting.is_empty()) {
    violate("a message came for which no receive was posted");
    return qp.waiting.push(message);
  }
  receive(*peer, message);
  if (breaks) return fail_send(qp, request, status);
  succeed(qp, request);
}

}  // namespace

void let_go() {
  std::deque<Held> held;
  held.swap(state().held);
  for (Held& one : held) {
    const auto found = state().queues.find(one.queue);
    if (found == state().queues.end()) continue;
    Qp& qp = *found->second;
    one.wr.sg_list = one.pieces.data();
    if (qp.state != IBV_QPS_ERR) {
      send(qp, one.wr);
    } else {  // One before it failed.
      complete(qp.send_cq, wc_of(one.wr.wr_id, IBV_WC_WR_FLUSH_ERR, IBV_WC_RDMA_WRITE, qp));
    }
  }
}

int post_chain(Qp& qp, ibv_send_wr* wr, ibv_send_wr** refused) {
  FakeVerbsCounts& counts = state().counts;
  for (; wr != nullptr; wr = wr->next) {
    *refused = wr;
    if (qp.state == IBV_QPS_ERR) {
      complete(qp.send_cq, wc_of(wr->wr_id, IBV_WC_WR_FLUSH_ERR, IBV_WC_RDMA_WRITE, qp));
      continue;
    }
    if (qp.state == IBV_QPS_SQD) violate("a request while the send queue drains");
    if (qp.state != IBV_QPS_RTS) return EINVAL;
    if (qp.sends.is_full()) {
      violate("a send queue overflowed");
      return ENOMEM;
    }
    ++counts.requests;
    counts.inlined += (wr->send_flags & IBV_SEND_INLINE) != 0;
    counts.gathered += wr->num_sge > 1;
    qp.sends.push({wr->wr_id, (wr->send_flags & IBV_SEND_SIGNALED) != 0});
    send(qp, *wr);
  }
  return 0;
}

int post_send(ibv_qp* pair, ibv_send_wr* wr, ibv_send_wr** refused) {
  const Lock lock(state().mutex);
  Qp& qp = *static_cast<Qp*>(pair);
  if (qp.extended && qp.extended->is_open) violate("ibv_post_send amid ibv_wr_start");
  ++state().counts.doorbells;
  *refused = wr;
  return fails() ? state().failing_errno : post_chain(qp, wr, refused);
}

int post_recv(ibv_qp* pair, ibv_recv_wr* wr, ibv_recv_wr** refused) {
  const Lock lock(state().mutex);
  Qp& qp = *static_cast<Qp*>(pair);
  ++state().counts.receives;
  if (fails()) {
    *refused = wr;
    return state().failing_errno;
  }
  for (; wr != nullptr; wr = wr->next) {
    *refused = wr;
    if (qp.receives.is_full()) {
      violate("a receive queue overflowed");
      return ENOMEM;
    }
    if (qp.state == IBV_QPS_ERR) {
      complete(qp.recv_cq, wc_of(wr->wr_id, IBV_WC_WR_FLUSH_ERR, IBV_WC_RECV, qp));
      continue;
    }
    qp.receives.push(wr->wr_id);
  }
  Qp* const sender = qp.state == IBV_QPS_INIT ? nullptr : peer_of(qp);
  while (sender != nullptr && !sender->waiting.is_empty() && !qp.receives.is_empty()) {
    receive(qp, sender->waiting.front());
    succeed(*sender, sender->waiting.front().request);
    sender->waiting.pop();
  }
  return 0;
}

// A polled completion frees its own place in the send queue and those before it.
void free_sends(const ibv_wc& wc) {
  const auto found = state().queues.find(wc.qp_num);
  if (found == state().queues.end()) return;
  Qp& qp = *found->second;
  ++state().counts.completions;
  while (!qp.sends.is_empty()) {
    const bool is_last = qp.sends.front().id == wc.wr_id;
    qp.sends.pop();
    if (is_last) return;
  }
}

int poll_cq(ibv_cq* queue, int most, ibv_wc* wc) {
  const Lock lock(state().mutex);
  Cq& cq = *static_cast<Cq*>(queue);
  int count = 0;
  for (; count < most && !cq.done.is_empty(); ++count, cq.done.pop()) {
    wc[count] = cq.done.front();
    const bool is_receive =
        wc[count].opcode == IBV_WC_RECV || wc[count].opcode == IBV_WC_RECV_RDMA_WITH_IMM;
    if (!is_receive) free_sends(wc[count]);
  }
  return count;
}

int req_notify_cq(ibv_cq* queue, int) {
  const Lock lock(state().mutex);
  if (fails()) return state().failing_errno;
  static_cast<Cq*>(queue)->is_armed = true;
  return 0;
}

}  // namespace accl::fake
