#include "transport/verbs/queue.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "accl/base/assert.h"
#include "accl/base/error.h"

namespace accl::verbs {
namespace {

constexpr std::uint8_t retry_not_ready_for_ever = 7;  // Our own deadlines end such a wait.
constexpr std::uint8_t shortest_not_ready_wait = 12;  // 0.64 ms.
constexpr std::uint8_t hop_limit = 255;
constexpr std::uint32_t packet_numbers = 1 << 24;

std::string words(int error) { return std::generic_category().message(error); }

const char* hint_for(int error) {
  switch (error) {
    case ETIMEDOUT:
      return "; nobody answered for that address: check cables, VLANs and routes between the two";
    case ENETUNREACH:
    case EHOSTUNREACH:
      return "; there is no route: check the interface's address and the routing table";
    case EINVAL:
      return "; check that both use the same kind of GID (ACCL_IB_GID_INDEX, ADDR_FAMILY)";
    default:
      return "";
  }
}

}  // namespace

Queue::Queue(const Port& port, ibv_cq* completions, std::uint8_t lane, std::uint8_t generation)
    : port_(port),
      ticket_{.lane = lane, .generation = generation},
      pair_{.queues = {nullptr, port.api().destroy_qp}} {
  create(completions);
  // Numbers of packets that an earlier connection may have under way must not fit.
  first_packet_ = static_cast<std::uint32_t>(Clock::now().time_since_epoch().count() / 1024 +
                                             pair_.queues->qp_num) %
                  packet_numbers;
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_INIT;
  attributes.pkey_index = port_.settings().pkey_index;
  attributes.port_num = port_.number();
  attributes.qp_access_flags = IBV_ACCESS_REMOTE_WRITE;
  modify(attributes, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS,
         "take its port", nullptr);
  if (const int error = post_receives(receive_depth); error != 0) {
    fail(ErrorKind::system, "verbs: {}: cannot post receives: {}", port_.text(), words(error));
  }
}

// Devices do not tell how much they send inline; one that refuses is asked for less.
void Queue::create(ibv_cq* completions) {
  const auto depth = static_cast<std::uint32_t>(port_.limits().max_qp_wr);
  ibv_qp_init_attr wanted{};
  wanted.send_cq = wanted.recv_cq = completions;
  wanted.qp_type = IBV_QPT_RC;
  wanted.cap.max_send_wr = send_depth + 1;  // The last, of a queue that stops.
  wanted.cap.max_recv_wr = receive_depth + 1;
  wanted.cap.max_send_sge = most_gathered;
  wanted.cap.max_recv_sge = 1;
  wanted.sq_sig_all = 0;
  if (depth < receive_depth + 1) {
    fail(ErrorKind::system, "verbs: {}: its queues hold {} requests, and {} are needed",
         port_.text(), depth, receive_depth + 1);
  }
  int error = 0;
  for (const std::uint32_t bytes : {wanted_inline, wanted_inline / 2, 0U}) {
    ibv_qp_init_attr given = wanted;
    given.cap.max_inline_data = bytes;
    pair_ = create_pair(port_, given);
    if (pair_.queues) {
      longest_inline_ = std::max(bytes, given.cap.max_inline_data);
      return;
    }
    error = errno;
  }
  if (port_.post_way() == PostWay::extended && is_unsupported(error)) {
    fail(ErrorKind::invalid_argument,
         "ACCL_IB_POST=wr: verbs: {} has no ibv_wr_* ({}); give auto or classic", port_.text(),
         words(error));
  }
  fail(ErrorKind::system, "verbs: {}: cannot make a queue pair: {}{}", port_.text(), words(error),
       error == ENOMEM ? "; raise the limit of locked memory (ulimit -l unlimited)" : "");
}

LaneAddress Queue::address() const {
  return {.gid = port_.gid().gid,
          .queue = pair_.queues->qp_num,
          .first_packet = first_packet_,
          .lid = port_.lid(),
          .mtu = static_cast<std::uint8_t>(port_.mtu()),
          .is_ethernet = static_cast<std::uint8_t>(port_.is_ethernet())};
}

void Queue::modify(ibv_qp_attr& attributes, int mask, const char* to, const LaneAddress* theirs) {
  const int error = port_.api().modify_qp(pair_.queues.get(), &attributes, mask);
  if (error == 0) return;
  const std::string path = theirs == nullptr ? "" : fmt::format(" to {}", text_of(theirs->gid));
  const ErrorKind kind = error == ETIMEDOUT ? ErrorKind::timeout : ErrorKind::system;
  fail(kind, "verbs: {}{}: the queue pair does not {}: {}{}", port_.text(), path, to, words(error),
       hint_for(error));
}

ibv_ah_attr Queue::path_to(const LaneAddress& theirs, std::uint32_t flow_label) const {
  const Settings& settings = port_.settings();
  ibv_ah_attr path{};
  path.dlid = theirs.lid;
  path.sl = settings.service_level;
  path.port_num = port_.number();
  path.is_global = port_.is_ethernet() || settings.gid_index >= 0 || theirs.lid == 0;
  std::memcpy(path.grh.dgid.raw, theirs.gid.data(), theirs.gid.size());
  path.grh.sgid_index = static_cast<std::uint8_t>(port_.gid().index);
  path.grh.flow_label = flow_label;
  path.grh.hop_limit = hop_limit;
  path.grh.traffic_class = settings.traffic_class;
  return path;
}

void Queue::connect(const LaneAddress& theirs, std::uint32_t flow_label) {
  if ((theirs.is_ethernet != 0) != port_.is_ethernet()) {
    fail(ErrorKind::remote, "verbs: {} is {}, and its peer's port is {}; choose with ACCL_IB_HCA",
         port_.text(), port_.is_ethernet() ? "RoCE" : "InfiniBand",
         theirs.is_ethernet != 0 ? "RoCE" : "InfiniBand");
  }
  const Settings& settings = port_.settings();
  ibv_qp_attr receive{};
  receive.qp_state = IBV_QPS_RTR;
  receive.path_mtu = std::min(port_.mtu(), static_cast<ibv_mtu>(theirs.mtu));
  receive.dest_qp_num = theirs.queue;
  receive.rq_psn = theirs.first_packet;
  receive.max_dest_rd_atomic = 1;
  receive.min_rnr_timer = shortest_not_ready_wait;
  receive.ah_attr = path_to(theirs, flow_label);
  modify(receive,
         IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
             IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER,
         "get ready to receive", &theirs);
  ibv_qp_attr send{};
  send.qp_state = IBV_QPS_RTS;
  send.sq_psn = first_packet_;
  send.timeout = settings.timeout;
  send.retry_cnt = port_.retries();
  send.rnr_retry = retry_not_ready_for_ever;
  send.max_rd_atomic = 1;
  modify(send,
         IBV_QP_STATE | IBV_QP_SQ_PSN | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
             IBV_QP_MAX_QP_RD_ATOMIC,
         "get ready to send", &theirs);
  theirs_ = theirs;
  flow_label_ = flow_label;
}

int Queue::relabel(std::uint32_t flow_label) {
  const Api& api = port_.api();
  const bool is_known = api.mlx5_is_supported != nullptr && api.mlx5_modify_qp_udp_sport != nullptr;
  if (!is_known || !port_.is_ethernet() || !api.mlx5_is_supported(port_.context()->device)) {
    return EOPNOTSUPP;
  }
  const std::uint16_t port = ibv_flow_label_to_udp_sport(flow_label);
  const int error = api.mlx5_modify_qp_udp_sport(pair_.queues.get(), port);
  if (error == 0) flow_label_ = flow_label;
  return error;
}

int Queue::pause() {
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_SQD;
  return port_.api().modify_qp(pair_.queues.get(), &attributes, IBV_QP_STATE);
}

int Queue::drained() const {
  ibv_qp_attr attributes{};
  ibv_qp_init_attr unused{};
  const int error = port_.api().query_qp(pair_.queues.get(), &attributes, IBV_QP_STATE, &unused);
  if (error != 0) return error;
  if (attributes.qp_state != IBV_QPS_SQD) return EIO;  // It broke.
  return attributes.sq_draining != 0 ? EAGAIN : 0;
}

// A path can be changed only while the state stays.
int Queue::resume(std::uint32_t flow_label) {
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_SQD;
  attributes.ah_attr = path_to(theirs_, flow_label);
  int error = port_.api().modify_qp(pair_.queues.get(), &attributes, IBV_QP_STATE | IBV_QP_AV);
  if (error != 0) return error;
  attributes = {};
  attributes.qp_state = IBV_QPS_RTS;
  error = port_.api().modify_qp(pair_.queues.get(), &attributes, IBV_QP_STATE);
  if (error == 0) flow_label_ = flow_label;
  return error;
}

ibv_send_wr Queue::next_request(bool is_signalled) {
  ACCL_ASSERT(has_room(1), posted_, retired_);
  ibv_send_wr request{};
  request.wr_id = ticket_.pack() | ++posted_;
  if (is_signalled || posted_ - signalled_ >= signal_every) {
    request.send_flags = IBV_SEND_SIGNALED;
    signalled_ = posted_;
  }
  return request;
}

int Queue::post(const Word& word) {
  ibv_send_wr request = next_request(word.is_signalled);
  request.opcode = IBV_WR_SEND_WITH_IMM;
  request.imm_data = htonl(word.immediate);
  return verbs::post(pair_, request);
}

int Queue::post(std::span<const Write> writes) {
  std::array<ibv_send_wr, most_writes> requests;
  ACCL_ASSERT(!writes.empty() && writes.size() <= requests.size(), writes.size());
  for (std::size_t i = 0; i < writes.size(); ++i) {
    const Write& write = writes[i];
    ibv_send_wr& request = requests[i] = next_request(write.is_signalled);
    if (i > 0) requests[i - 1].next = &request;
    request.opcode = write.immediate ? IBV_WR_RDMA_WRITE_WITH_IMM : IBV_WR_RDMA_WRITE;
    request.imm_data = htonl(write.immediate.value_or(0));
    request.sg_list = write.from.data();
    request.num_sge = static_cast<int>(write.from.size());
    request.wr.rdma.remote_addr = write.to;
    request.wr.rdma.rkey = write.key;
    if (write.is_inline) request.send_flags |= IBV_SEND_INLINE;
  }
  return verbs::post(pair_, requests[0]);
}

int Queue::took_receive() {
  if (++missing_receives_ < receives_at_once) return 0;
  return post_receives(missing_receives_);
}

// They hold no memory: writes bring their own address, and words are in the completion.
int Queue::post_receives(std::uint32_t count) {
  missing_receives_ = 0;
  Ticket ticket = ticket_;
  ticket.is_receive = true;
  std::array<ibv_recv_wr, receives_at_once> chain{};
  while (count > 0) {
    const std::uint32_t now = std::min(count, receives_at_once);
    for (std::uint32_t i = 0; i < now; ++i) {
      chain[i] = {};
      chain[i].wr_id = ticket.pack();
      chain[i].next = i + 1 < now ? &chain[i + 1] : nullptr;
    }
    ibv_recv_wr* refused = nullptr;
    if (const int error = ::ibv_post_recv(pair_.queues.get(), chain.data(), &refused)) return error;
    count -= now;
  }
  return 0;
}

// What is last goes by ibv_post_send in any case, which all devices take in the state of error;
// some refuse ibv_wr_* there. The two may alternate.
void Queue::stop() {
  if (std::exchange(is_stopped_, true)) return;
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_ERR;
  if (port_.api().modify_qp(pair_.queues.get(), &attributes, IBV_QP_STATE) != 0) return;
  Ticket ticket = ticket_;
  ticket.is_last = true;
  ibv_send_wr send{};
  send.wr_id = ticket.pack();
  send.opcode = IBV_WR_SEND_WITH_IMM;
  send.send_flags = IBV_SEND_SIGNALED;
  ibv_send_wr* refused_send = nullptr;
  static_cast<void>(::ibv_post_send(pair_.queues.get(), &send, &refused_send));
  ibv_recv_wr receive{};
  ticket.is_receive = true;
  receive.wr_id = ticket.pack();
  ibv_recv_wr* refused = nullptr;
  static_cast<void>(::ibv_post_recv(pair_.queues.get(), &receive, &refused));
}

}  // namespace accl::verbs
