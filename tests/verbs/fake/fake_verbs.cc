// fake_verbs.cc - the functions of libibverbs that set things up and end them.
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>

#include "tests/verbs/fake/state.h"

using namespace accl::fake;

namespace {

// To the state in which nothing is sent, out of it, and what may be changed there: as the kernel's
// table of transitions has it, which takes a path only where the state stays.
int modify_draining(Qp& qp, const ibv_qp_attr& attributes, int mask) {
  const ibv_qp_state next = attributes.qp_state;
  if (state().looks_until_drained < 0) return EINVAL;
  if (qp.state == IBV_QPS_RTS && next == IBV_QPS_SQD && mask == IBV_QP_STATE) {
    qp.looks_until_drained = static_cast<std::uint32_t>(state().looks_until_drained);
  } else if (qp.looks_until_drained > 0) {
    return EINVAL;
  } else if (qp.state == IBV_QPS_SQD && next == IBV_QPS_SQD && mask == (IBV_QP_STATE | IBV_QP_AV)) {
    ibv_ah_attr expected = qp.path;
    expected.grh.flow_label = attributes.ah_attr.grh.flow_label;
    const bool is_same = std::memcmp(&expected, &attributes.ah_attr, sizeof expected) == 0;
    if (!is_same) violate("a path that differs by more than its label");
    qp.path = attributes.ah_attr;
  } else if (qp.state != IBV_QPS_SQD || next != IBV_QPS_RTS || mask != IBV_QP_STATE) {
    return EINVAL;
  }
  qp.state = next;
  return 0;
}

}  // namespace

extern "C" {

ibv_device** ibv_get_device_list(int* count) {
  const Lock lock(state().mutex);
  *count = 0;
  if (fails()) return nullptr;
  auto** const list = new ibv_device*[state().devices.size() + 1]();
  for (std::uint32_t i = 0; i < state().device_count; ++i) {
    ibv_device& device = state().devices[i];
    if (device.name[0] == '\0') {  // Once: others may be reading it.
      std::snprintf(device.name, sizeof device.name, "fake%u", i);
      std::snprintf(device.ibdev_path, sizeof device.ibdev_path, "/nowhere/fake%u", i);
    }
    list[(*count)++] = &device;
  }
  ++state().living;
  return list;
}

void ibv_free_device_list(ibv_device** list) {
  const Lock lock(state().mutex);
  --state().living;
  delete[] list;
}

ibv_context* ibv_open_device(ibv_device* device) {
  const Lock lock(state().mutex);
  if (fails()) return nullptr;
  auto* const context = new Context;
  context->index = static_cast<std::uint32_t>(device - state().devices.data());
  context->extended.sz = sizeof(verbs_context);
  context->extended.create_qp_ex = state().extended_error >= 0 ? create_qp_ex : nullptr;
  ibv_context& base = base_of(*context);
  base.device = device;
  base.abi_compat = __VERBS_ABI_IS_EXTENDED;
  base.async_fd = ::eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
  base.ops.post_send = post_send;
  base.ops.post_recv = post_recv;
  base.ops.poll_cq = poll_cq;
  base.ops.req_notify_cq = req_notify_cq;
  state().contexts.push_back(context);
  ++state().living;
  return &base;
}

int ibv_close_device(ibv_context* context) {
  const Lock lock(state().mutex);
  auto* const own = &context_of(context);
  if (own->users == 0) {
    ::close(context->async_fd);
    std::erase(state().contexts, own);
  }
  return end_object(own, own->users);
}

int ibv_query_device(ibv_context*, ibv_device_attr* attributes) {
  const Lock lock(state().mutex);
  if (fails()) return state().failing_errno;
  *attributes = {};
  attributes->max_qp_wr = most_queue_depth;
  attributes->max_cqe = 1 << 15;
  attributes->phys_port_cnt = state().port_count;
  return 0;
}

int ibv_query_port(ibv_context* context, std::uint8_t, _compat_ibv_port_attr* compat) {
  const Lock lock(state().mutex);
  if (fails()) return state().failing_errno;
  auto* const attributes = reinterpret_cast<ibv_port_attr*>(compat);
  *attributes = {};
  const std::uint32_t device = context_of(context).index;
  attributes->state = (state().down_ports >> device & 1) != 0 ? IBV_PORT_DOWN : IBV_PORT_ACTIVE;
  attributes->active_mtu = attributes->max_mtu = IBV_MTU_4096;
  attributes->gid_tbl_len = 2;
  attributes->max_msg_sz = 1U << 31;
  attributes->link_layer = IBV_LINK_LAYER_ETHERNET;
  return 0;
}

int ibv_query_gid(ibv_context* context, std::uint8_t, int index, ibv_gid* gid) {
  *gid = {};
  const auto device = static_cast<std::uint8_t>(context_of(context).index);
  if (index == 0) {
    gid->raw[0] = 0xFE;
    gid->raw[1] = 0x80;
    gid->raw[15] = device;
  } else {
    gid->raw[10] = gid->raw[11] = 0xFF;
    gid->raw[12] = 192;
    gid->raw[14] = 2;
    gid->raw[15] = static_cast<std::uint8_t>(device + 1);
  }
  return 0;
}

ibv_pd* ibv_alloc_pd(ibv_context* context) {
  const Lock lock(state().mutex);
  if (fails()) return nullptr;
  auto* const pd = new Pd;
  pd->context = context;
  ++context_of(context).users;
  ++state().living;
  return pd;
}

int ibv_dealloc_pd(ibv_pd* pd) {
  const Lock lock(state().mutex);
  --context_of(pd->context).users;
  return end_object(static_cast<Pd*>(pd), static_cast<Pd*>(pd)->users);
}

ibv_comp_channel* ibv_create_comp_channel(ibv_context* context) {
  const Lock lock(state().mutex);
  if (fails()) return nullptr;
  auto* const channel = new Channel;
  channel->context = context;
  channel->fd = ::eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
  ++context_of(context).users;
  ++state().living;
  return channel;
}

int ibv_destroy_comp_channel(ibv_comp_channel* channel) {
  const Lock lock(state().mutex);
  auto* const own = static_cast<Channel*>(channel);
  if (own->users == 0) ::close(own->fd);
  --context_of(own->context).users;
  return end_object(own, own->users);
}

ibv_cq* ibv_create_cq(ibv_context* context, int depth, void* owner, ibv_comp_channel* channel,
                      int) {
  const Lock lock(state().mutex);
  if (fails()) return nullptr;
  auto* const cq = new Cq(static_cast<std::size_t>(depth));
  cq->context = context;
  cq->cq_context = owner;
  cq->channel = channel;
  if (channel != nullptr) ++static_cast<Channel*>(channel)->users;
  ++context_of(context).users;
  ++state().living;
  return cq;
}

int ibv_destroy_cq(ibv_cq* queue) {
  const Lock lock(state().mutex);
  auto* const cq = static_cast<Cq*>(queue);
  if (cq->unacknowledged > 0) violate("a completion queue ended with events not acknowledged");
  if (cq->channel != nullptr) {
    auto* const channel = static_cast<Channel*>(cq->channel);
    --channel->users;
    for (std::size_t left = channel->events.size(); left > 0; --left) {  // Those of others stay.
      Cq* const owner = channel->events.front();
      channel->events.pop();
      if (owner != cq) channel->events.push(owner);
    }
  }
  --context_of(cq->context).users;
  return end_object(cq, cq->users);
}

int ibv_get_cq_event(ibv_comp_channel* channel, ibv_cq** queue, void** owner) {
  std::uint64_t one = 0;
  if (::read(channel->fd, &one, sizeof one) != sizeof one) return -1;
  const Lock lock(state().mutex);
  auto* const own = static_cast<Channel*>(channel);
  if (own->events.is_empty()) {  // Its queue has ended.
    errno = EAGAIN;
    return -1;
  }
  *queue = own->events.front();
  *owner = (*queue)->cq_context;
  own->events.pop();
  ++static_cast<Cq*>(*queue)->unacknowledged;
  return 0;
}

void ibv_ack_cq_events(ibv_cq* queue, unsigned count) {
  const Lock lock(state().mutex);
  static_cast<Cq*>(queue)->unacknowledged -= static_cast<int>(count);
}

ibv_qp* ibv_create_qp(ibv_pd* pd, ibv_qp_init_attr* attributes) {
  const Lock lock(state().mutex);
  return make_queue_pair(pd, *attributes);
}

int ibv_modify_qp(ibv_qp* pair, ibv_qp_attr* attributes, int mask) {
  const Lock lock(state().mutex);
  if (fails()) return state().failing_errno;
  Qp& qp = *static_cast<Qp*>(pair);
  const ibv_qp_state next = attributes->qp_state;
  if (next == IBV_QPS_ERR) {
    fall_into_error(qp);
    return 0;
  }
  if (next == IBV_QPS_SQD || qp.state == IBV_QPS_SQD) return modify_draining(qp, *attributes, mask);
  const bool is_in_order = (qp.state == IBV_QPS_RESET && next == IBV_QPS_INIT) ||
                           (qp.state == IBV_QPS_INIT && next == IBV_QPS_RTR) ||
                           (qp.state == IBV_QPS_RTR && next == IBV_QPS_RTS);
  if (!is_in_order) return EINVAL;
  if (next == IBV_QPS_RTR && state().looking_ms > 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(state().looking_ms));
    return ETIMEDOUT;
  }
  if (next == IBV_QPS_RTR) {
    qp.peer = attributes->dest_qp_num;
    qp.first_awaited = attributes->rq_psn;
    qp.path = attributes->ah_attr;
    state().labels.push_back(attributes->ah_attr.grh.flow_label);
  }
  if (next == IBV_QPS_RTS) qp.first_sent = attributes->sq_psn;
  qp.state = next;
  return 0;
}

int ibv_query_qp(ibv_qp* pair, ibv_qp_attr* attributes, int, ibv_qp_init_attr*) {
  const Lock lock(state().mutex);
  if (fails()) return state().failing_errno;
  Qp& qp = *static_cast<Qp*>(pair);
  *attributes = {};
  attributes->qp_state = qp.state;
  if (qp.state != IBV_QPS_SQD || qp.looks_until_drained == 0) return 0;
  if (--qp.looks_until_drained == 0)
    raise_event(context_of(qp.context).index, IBV_EVENT_SQ_DRAINED);
  attributes->sq_draining = 1;
  return 0;
}

// Of libmlx5.
bool mlx5dv_is_supported(ibv_device*) {
  const Lock lock(state().mutex);
  return state().mlx5 != 0;
}

int mlx5dv_modify_qp_udp_sport(ibv_qp* pair, std::uint16_t port) {
  const Lock lock(state().mutex);
  auto& qp = *static_cast<Qp*>(pair);
  if (state().mlx5 == 0) violate("a device that is not of mlx5 was asked for another source port");
  if (fails()) return state().failing_errno;
  if (state().mlx5 < 0 || qp.state != IBV_QPS_RTS) return EINVAL;
  constexpr std::uint16_t least = 0xC000;
  if (port < least) violate("a source port that is not of RoCE");
  qp.path.grh.flow_label = port - least;
  return 0;
}

int ibv_destroy_qp(ibv_qp* pair) {
  const Lock lock(state().mutex);
  auto* const qp = static_cast<Qp*>(pair);
  if (qp->extended && qp->extended->is_open) violate("a queue pair ended amid ibv_wr_start");
  state().queues.erase(qp->qp_num);
  std::erase_if(state().held, [&](const Held& one) { return one.queue == qp->qp_num; });
  --static_cast<Pd*>(qp->pd)->users;
  --static_cast<Cq*>(qp->send_cq)->users;
  return end_object(qp, 0);
}

int ibv_get_async_event(ibv_context* context, ibv_async_event* event) {
  std::uint64_t one = 0;
  if (::read(context->async_fd, &one, sizeof one) != sizeof one) return -1;
  const Lock lock(state().mutex);
  auto* const own = &context_of(context);
  *event = {};
  event->event_type = own->events.front();
  event->element.port_num = 1;
  own->events.pop_front();
  return 0;
}

void ibv_ack_async_event(ibv_async_event*) {}

const char* ibv_wc_status_str(ibv_wc_status status) {
  return status == IBV_WC_RETRY_EXC_ERR ? "transport retry counter exceeded" : "some other status";
}

const char* ibv_event_type_str(ibv_event_type type) {
  return type == IBV_EVENT_DEVICE_FATAL ? "local catastrophic error" : "some other event";
}
}
