#include "transport/verbs/loopback.h"

#include <cerrno>
#include <cstring>
#include <system_error>

#include "accl/base/clock.h"
#include "accl/base/error.h"

namespace accl::verbs {
namespace {

constexpr int depth = 4;
constexpr std::uint8_t hop_limit = 255;
constexpr std::uint8_t most_retries_when_not_ready = 7;
constexpr std::uint8_t shortest_not_ready_wait = 12;
// A device that takes longer for one byte over PCIe is dead.
constexpr Milliseconds longest_read{2000};

}  // namespace

Loopback::Loopback(const Port& port)
    : port_(port),
      region_(port.add({&landing_, 1}, false)),
      completions_(port.api().create_cq(port.context(), depth, nullptr, nullptr, 0),
                   port.api().destroy_cq),
      pair_(nullptr, port.api().destroy_qp) {
  if (!completions_) {
    fail_system("verbs: " + port_.text() + ": no completion queue to read back with", errno);
  }
  ibv_qp_init_attr wanted{};
  wanted.send_cq = wanted.recv_cq = completions_.get();
  wanted.qp_type = IBV_QPT_RC;
  wanted.cap.max_send_wr = depth;
  wanted.cap.max_recv_wr = 1;
  wanted.cap.max_send_sge = wanted.cap.max_recv_sge = 1;
  pair_.reset(port_.api().create_qp(port_.domain(), &wanted));
  if (!pair_) fail_system("verbs: " + port_.text() + ": no queue pair to read back with", errno);
  connect();
}

void Loopback::modify(ibv_qp_attr& attributes, int mask) const {
  const int error = port_.api().modify_qp(pair_.get(), &attributes, mask);
  if (error != 0) fail_system("verbs: " + port_.text() + " does not connect to itself", error);
}

void Loopback::connect() {
  const Settings& settings = port_.settings();
  ibv_qp_attr start{};
  start.qp_state = IBV_QPS_INIT;
  start.pkey_index = settings.pkey_index;
  start.port_num = port_.number();
  start.qp_access_flags = IBV_ACCESS_REMOTE_READ;
  modify(start, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);

  ibv_qp_attr receive{};
  receive.qp_state = IBV_QPS_RTR;
  receive.path_mtu = port_.mtu();
  receive.dest_qp_num = pair_->qp_num;
  receive.max_dest_rd_atomic = 1;
  receive.min_rnr_timer = shortest_not_ready_wait;
  receive.ah_attr.dlid = port_.lid();
  receive.ah_attr.sl = settings.service_level;
  receive.ah_attr.port_num = port_.number();
  receive.ah_attr.is_global = port_.is_ethernet() || settings.gid_index >= 0;
  std::memcpy(receive.ah_attr.grh.dgid.raw, port_.gid().gid.data(), sizeof(Gid));
  receive.ah_attr.grh.sgid_index = static_cast<std::uint8_t>(port_.gid().index);
  receive.ah_attr.grh.hop_limit = hop_limit;
  receive.ah_attr.grh.traffic_class = settings.traffic_class;
  modify(receive, IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                      IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);

  ibv_qp_attr send{};
  send.qp_state = IBV_QPS_RTS;
  send.timeout = settings.timeout;
  send.retry_cnt = port_.retries();
  send.rnr_retry = most_retries_when_not_ready;
  send.max_rd_atomic = 1;
  modify(send, IBV_QP_STATE | IBV_QP_SQ_PSN | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                   IBV_QP_MAX_QP_RD_ATOMIC);
}

std::string Loopback::read_back(const ibv_mr& region, const std::byte* byte) {
  if (!failure_.empty()) return failure_;
  ibv_sge to{
      .addr = reinterpret_cast<std::uint64_t>(&landing_), .length = 1, .lkey = region_->lkey};
  ibv_send_wr read{};
  read.wr_id = ++number_;
  read.opcode = IBV_WR_RDMA_READ;
  read.send_flags = IBV_SEND_SIGNALED;
  read.sg_list = &to;
  read.num_sge = 1;
  read.wr.rdma.remote_addr = reinterpret_cast<std::uint64_t>(byte);
  read.wr.rdma.rkey = region.rkey;
  ibv_send_wr* refused = nullptr;
  if (const int error = ::ibv_post_send(pair_.get(), &read, &refused); error != 0) {
    failure_ = fmt::format("{} takes no request to read back: {}", port_.text(),
                           std::generic_category().message(error));
    return failure_;
  }
  ibv_wc done{};
  int count = 0;
  const Deadline deadline(longest_read);
  while (count == 0 && !deadline.passed()) count = ::ibv_poll_cq(completions_.get(), 1, &done);
  if (count == 1 && done.status == IBV_WC_SUCCESS) return {};
  failure_ = fmt::format("{} does not read back what it wrote: {}", port_.text(),
                         count == 1 ? port_.api().wc_status_str(done.status) : "no answer");
  return failure_;
}

}  // namespace accl::verbs
