// extended.cc - queue pairs that take requests by ibv_wr_*, as strict as the strictest driver: each
// call has its time, and each request needs one call that gives its data, if it has any or not.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "tests/verbs/fake/state.h"

namespace accl::fake {
namespace {

constexpr std::uint64_t known_operations =
    IBV_QP_EX_WITH_SEND_WITH_IMM | IBV_QP_EX_WITH_RDMA_WRITE | IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM;

Extended& side_of(ibv_qp_ex* queue) { return *static_cast<Extended*>(queue); }

void start(ibv_qp_ex* queue) {
  const Lock lock(state().mutex);
  Extended& side = side_of(queue);
  if (side.is_open) violate("ibv_wr_start twice");
  side.is_open = true;
  side.count = 0;
  side.error = 0;
}

void check_last(const Extended& side) {
  if (side.count > 0 && !side.said[side.count - 1].has_data) violate("a request without its data");
}

// Null: it cannot be said.
ibv_send_wr* begin(ibv_qp_ex* queue, std::uint64_t operation, ibv_wr_opcode opcode) {
  Extended& side = side_of(queue);
  if (!side.is_open) violate("a request before ibv_wr_start");
  if ((side.operations & operation) == 0) violate("an operation the queue pair was not made for");
  check_last(side);
  if (side.owner.sends.size() + side.count >= side.said.size()) {
    violate("a send queue overflowed");
    side.error = ENOMEM;
    return nullptr;
  }
  Extended::Said& said = side.said[side.count++];
  said.has_data = false;
  said.request = {};
  said.request.wr_id = queue->wr_id;
  said.request.send_flags = queue->wr_flags;
  said.request.opcode = opcode;
  return &said.request;
}

void send_imm(ibv_qp_ex* queue, __be32 value) {
  const Lock lock(state().mutex);
  ibv_send_wr* const request = begin(queue, IBV_QP_EX_WITH_SEND_WITH_IMM, IBV_WR_SEND_WITH_IMM);
  if (request != nullptr) request->imm_data = value;
}

void address(ibv_send_wr* request, std::uint32_t key, std::uint64_t to) {
  if (request == nullptr) return;
  request->wr.rdma.rkey = key;
  request->wr.rdma.remote_addr = to;
}

void rdma_write(ibv_qp_ex* queue, std::uint32_t key, std::uint64_t to) {
  const Lock lock(state().mutex);
  address(begin(queue, IBV_QP_EX_WITH_RDMA_WRITE, IBV_WR_RDMA_WRITE), key, to);
}

void rdma_write_imm(ibv_qp_ex* queue, std::uint32_t key, std::uint64_t to, __be32 value) {
  const Lock lock(state().mutex);
  ibv_send_wr* const request =
      begin(queue, IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM, IBV_WR_RDMA_WRITE_WITH_IMM);
  address(request, key, to);
  if (request != nullptr) request->imm_data = value;
}

// Null: there is nothing that these data could belong to.
Extended::Said* take_data(ibv_qp_ex* queue, bool is_inline) {
  Extended& side = side_of(queue);
  if (side.error != 0) return nullptr;
  if (!side.is_open || side.count == 0 || side.said[side.count - 1].has_data) {
    violate("data without a request");
    side.error = EINVAL;
    return nullptr;
  }
  Extended::Said& said = side.said[side.count - 1];
  const bool says_inline = (said.request.send_flags & IBV_SEND_INLINE) != 0;
  if (says_inline != is_inline) violate("inline data without its flag, or the flag without them");
  said.has_data = true;
  return &said;
}

void set_sge_list(ibv_qp_ex* queue, std::size_t count, const ibv_sge* pieces) {
  const Lock lock(state().mutex);
  Extended::Said* const said = take_data(queue, false);
  if (said == nullptr) return;
  if (count > said->pieces.size()) {
    violate("more pieces than the queue takes");
    side_of(queue).error = EINVAL;
    return;
  }
  std::copy_n(pieces, count, said->pieces.begin());
  said->request.sg_list = said->pieces.data();
  said->request.num_sge = static_cast<int>(count);
}

void set_sge(ibv_qp_ex* queue, std::uint32_t key, std::uint64_t at, std::uint32_t bytes) {
  const ibv_sge piece{.addr = at, .length = bytes, .lkey = key};
  set_sge_list(queue, bytes > 0 ? 1 : 0, &piece);
}

// They are the caller's again at once.
void set_inline_list(ibv_qp_ex* queue, std::size_t count, const ibv_data_buf* pieces) {
  const Lock lock(state().mutex);
  Extended::Said* const said = take_data(queue, true);
  if (said == nullptr) return;
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (bytes + pieces[i].length > said->inlined.size()) {
      violate("more inline than the queue takes");
      side_of(queue).error = ENOSPC;
      return;
    }
    std::memcpy(said->inlined.data() + bytes, pieces[i].addr, pieces[i].length);
    bytes += pieces[i].length;
  }
  said->pieces[0] = {.addr = reinterpret_cast<std::uint64_t>(said->inlined.data()),
                     .length = static_cast<std::uint32_t>(bytes),
                     .lkey = 0};
  said->request.sg_list = said->pieces.data();
  said->request.num_sge = 1;
}

void set_inline(ibv_qp_ex* queue, void* at, std::size_t bytes) {
  const ibv_data_buf piece{.addr = at, .length = bytes};
  set_inline_list(queue, 1, &piece);
}

// All of it or, where anything was wrong, nothing.
int complete_posting(ibv_qp_ex* queue) {
  const Lock lock(state().mutex);
  Extended& side = side_of(queue);
  if (!side.is_open) violate("ibv_wr_complete without ibv_wr_start");
  check_last(side);
  side.is_open = false;
  ++state().counts.doorbells;
  ++state().counts.extended;
  if (fails()) return state().failing_errno;
  if (side.error != 0 || side.count == 0) return side.error;
  for (std::size_t i = 0; i + 1 < side.count; ++i) {
    side.said[i].request.next = &side.said[i + 1].request;
  }
  ibv_send_wr* refused = nullptr;
  return post_chain(side.owner, &side.said[0].request, &refused);
}

void abort_posting(ibv_qp_ex* queue) {
  const Lock lock(state().mutex);
  if (!side_of(queue).is_open) violate("ibv_wr_abort without ibv_wr_start");
  side_of(queue).is_open = false;
}

void extend(Qp& qp, std::uint64_t operations, std::size_t depth) {
  qp.extended = std::make_unique<Extended>(qp);
  Extended& side = *qp.extended;
  side.operations = operations;
  side.said.resize(depth);
  side.wr_start = start;
  side.wr_send_imm = send_imm;
  side.wr_rdma_write = rdma_write;
  side.wr_rdma_write_imm = rdma_write_imm;
  side.wr_set_sge = set_sge;
  side.wr_set_sge_list = set_sge_list;
  side.wr_set_inline_data = set_inline;
  side.wr_set_inline_data_list = set_inline_list;
  side.wr_complete = complete_posting;
  side.wr_abort = abort_posting;
}

}  // namespace

Qp* make_queue_pair(ibv_pd* pd, ibv_qp_init_attr& attributes) {
  if (fails()) return nullptr;
  if (attributes.cap.max_inline_data > inline_bytes) {
    errno = EINVAL;
    return nullptr;
  }
  auto* const qp = new Qp(attributes.cap.max_send_wr, attributes.cap.max_recv_wr);
  qp->context = pd->context;
  qp->pd = pd;
  qp->send_cq = attributes.send_cq;
  qp->recv_cq = attributes.recv_cq;
  qp->qp_num = ++state().next_number;
  qp->gathers = attributes.cap.max_send_sge;
  attributes.cap.max_inline_data = inline_bytes;
  state().queues[qp->qp_num] = qp;
  ++static_cast<Pd*>(pd)->users;
  ++static_cast<Cq*>(qp->send_cq)->users;
  ++state().living;
  return qp;
}

ibv_qp* create_qp_ex(ibv_context*, ibv_qp_init_attr_ex* attributes) {
  const Lock lock(state().mutex);
  errno = state().extended_error;
  if (errno != 0) return nullptr;
  const std::uint32_t mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS;
  if (attributes->comp_mask != mask || (attributes->send_ops_flags & ~known_operations) != 0) {
    errno = EOPNOTSUPP;
    return nullptr;
  }
  ibv_qp_init_attr common{};
  common.send_cq = attributes->send_cq;
  common.recv_cq = attributes->recv_cq;
  common.cap = attributes->cap;
  Qp* const qp = make_queue_pair(attributes->pd, common);
  if (qp == nullptr) return nullptr;
  attributes->cap = common.cap;
  extend(*qp, attributes->send_ops_flags, common.cap.max_send_wr);
  return qp;
}

}  // namespace accl::fake

extern "C" ibv_qp_ex* ibv_qp_to_qp_ex(ibv_qp* pair) {
  return static_cast<accl::fake::Qp*>(pair)->extended.get();
}
