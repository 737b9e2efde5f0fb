// api.h - the functions of libibverbs, found when a program first asks for them. So the library
// loads where no RDMA software is installed. The verbs of the data path (post, poll, notify) are
// inline in <infiniband/verbs.h> and reach the device's driver without any of these.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <string>

namespace accl::verbs {

// The header wraps some functions in macros that pick newer ones; we want the plain ones.
#undef ibv_reg_mr
#undef ibv_query_port

// Pointers that stay good for the life of the process: drivers are never unloaded.
struct Api {
  // Throws Error (system) that names `library` and says what to install.
  static Api load(const std::string& library);

  decltype(&ibv_get_device_list) get_device_list = nullptr;
  decltype(&ibv_free_device_list) free_device_list = nullptr;
  decltype(&ibv_open_device) open_device = nullptr;
  decltype(&ibv_close_device) close_device = nullptr;
  decltype(&ibv_query_device) query_device = nullptr;
  decltype(&ibv_query_port) query_port = nullptr;
  decltype(&ibv_query_gid) query_gid = nullptr;
  decltype(&ibv_alloc_pd) alloc_pd = nullptr;
  decltype(&ibv_dealloc_pd) dealloc_pd = nullptr;
  decltype(&ibv_reg_mr) reg_mr = nullptr;
  decltype(&ibv_dereg_mr) dereg_mr = nullptr;
  // Null where the library is older: rdma-core 28 and 34.
  decltype(&ibv_reg_mr_iova2) reg_mr_iova2 = nullptr;
  decltype(&ibv_reg_dmabuf_mr) reg_dmabuf_mr = nullptr;
  decltype(&ibv_qp_to_qp_ex) qp_to_qp_ex = nullptr;  // Null before rdma-core 22.
  decltype(&ibv_create_comp_channel) create_comp_channel = nullptr;
  decltype(&ibv_destroy_comp_channel) destroy_comp_channel = nullptr;
  decltype(&ibv_create_cq) create_cq = nullptr;
  decltype(&ibv_destroy_cq) destroy_cq = nullptr;
  decltype(&ibv_get_cq_event) get_cq_event = nullptr;
  decltype(&ibv_ack_cq_events) ack_cq_events = nullptr;
  decltype(&ibv_create_qp) create_qp = nullptr;
  decltype(&ibv_modify_qp) modify_qp = nullptr;
  decltype(&ibv_query_qp) query_qp = nullptr;
  decltype(&ibv_destroy_qp) destroy_qp = nullptr;
  decltype(&ibv_get_async_event) get_async_event = nullptr;
  decltype(&ibv_ack_async_event) ack_async_event = nullptr;
  decltype(&ibv_wc_status_str) wc_status_str = nullptr;
  decltype(&ibv_event_type_str) event_type_str = nullptr;
  // Of libmlx5, for its devices only; null where there is none, or one before rdma-core 33.
  bool (*mlx5_is_supported)(ibv_device*) = nullptr;
  int (*mlx5_modify_qp_udp_sport)(ibv_qp*, std::uint16_t) = nullptr;
};

}  // namespace accl::verbs
