#include "transport/verbs/posting.h"

#include <cerrno>

#include "accl/base/assert.h"

namespace accl::verbs {
namespace {

constexpr std::uint64_t operations =
    IBV_QP_EX_WITH_SEND_WITH_IMM | IBV_QP_EX_WITH_RDMA_WRITE | IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM;

// Null, and errno, where there is none. As ibv_create_qp_ex does it, which is inline but for a call
// of the library.
Pair create_extended(const Port& port, ibv_qp_init_attr& wanted) {
  Pair pair{.queues = {nullptr, port.api().destroy_qp}};
  verbs_context* const context = verbs_get_ctx_op(port.context(), create_qp_ex);
  errno = EOPNOTSUPP;
  if (context == nullptr || port.api().qp_to_qp_ex == nullptr) return pair;
  ibv_qp_init_attr_ex attributes{};
  attributes.send_cq = wanted.send_cq;
  attributes.recv_cq = wanted.recv_cq;
  attributes.cap = wanted.cap;
  attributes.qp_type = wanted.qp_type;
  attributes.sq_sig_all = wanted.sq_sig_all;
  attributes.comp_mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS;
  attributes.pd = port.domain();
  attributes.send_ops_flags = operations;
  pair.queues.reset(context->create_qp_ex(port.context(), &attributes));
  if (!pair.queues) return pair;
  wanted.cap = attributes.cap;
  pair.extended = port.api().qp_to_qp_ex(pair.queues.get());
  if (pair.extended != nullptr) return pair;
  pair.queues.reset();
  errno = EOPNOTSUPP;
  return pair;
}

void begin(ibv_qp_ex& queue, const ibv_send_wr& request) {
  queue.wr_id = request.wr_id;
  queue.wr_flags = request.send_flags;  // Also that it is inline: Soft-RoCE's driver wants to know.
  const auto& remote = request.wr.rdma;
  switch (request.opcode) {
    case IBV_WR_SEND_WITH_IMM:
      return ::ibv_wr_send_imm(&queue, request.imm_data);
    case IBV_WR_RDMA_WRITE:
      return ::ibv_wr_rdma_write(&queue, remote.rkey, remote.remote_addr);
    case IBV_WR_RDMA_WRITE_WITH_IMM:
      return ::ibv_wr_rdma_write_imm(&queue, remote.rkey, remote.remote_addr, request.imm_data);
    default:
      ACCL_ASSERT(false, static_cast<int>(request.opcode));
  }
}

void* pointer_of(const ibv_sge& piece) { return reinterpret_cast<void*>(piece.addr); }

// Every request needs one such call, also one without bytes: it is what ends the request.
void set_data(ibv_qp_ex& queue, const ibv_send_wr& request) {
  const std::span<const ibv_sge> pieces(request.sg_list, static_cast<std::size_t>(request.num_sge));
  if (pieces.empty()) return ::ibv_wr_set_sge(&queue, 0, 0, 0);
  if ((request.send_flags & IBV_SEND_INLINE) != 0) {
    // Soft-RoCE's driver mixes a list of pieces up.
    ACCL_ASSERT(pieces.size() == 1, pieces.size());
    return ::ibv_wr_set_inline_data(&queue, pointer_of(pieces[0]), pieces[0].length);
  }
  if (pieces.size() > 1) return ::ibv_wr_set_sge_list(&queue, pieces.size(), pieces.data());
  ::ibv_wr_set_sge(&queue, pieces[0].lkey, pieces[0].addr, pieces[0].length);
}

// Nothing can go wrong before the end, which takes all back if anything did.
int post_extended(ibv_qp_ex& queue, const ibv_send_wr& first) {
  ::ibv_wr_start(&queue);
  for (const ibv_send_wr* request = &first; request != nullptr; request = request->next) {
    begin(queue, *request);
    set_data(queue, *request);
  }
  return ::ibv_wr_complete(&queue);
}

}  // namespace

// Drivers that are older than ibv_wr_* say EINVAL to a mask they do not know.
bool is_unsupported(int error) { return error == EOPNOTSUPP || error == ENOSYS || error == EINVAL; }

Pair create_pair(const Port& port, ibv_qp_init_attr& wanted) {
  const bool tries = port.post_way() != PostWay::classic;
  Pair pair{.queues = {nullptr, port.api().destroy_qp}};
  if (tries) pair = create_extended(port, wanted);
  const int error = errno;
  const bool is_final = port.post_way() == PostWay::extended || !is_unsupported(error);
  if (tries && (pair.queues || is_final)) return pair;
  pair.queues.reset(port.api().create_qp(port.domain(), &wanted));
  if (tries && pair.queues) port.post_classically(error);
  return pair;
}

int post(const Pair& pair, ibv_send_wr& first) {
  if (pair.extended != nullptr) return post_extended(*pair.extended, first);
  ibv_send_wr* refused = nullptr;
  return ::ibv_post_send(pair.queues.get(), &first, &refused);
}

}  // namespace accl::verbs
