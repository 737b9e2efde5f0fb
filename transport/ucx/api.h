// api.h - the functions of UCX, found when a program first asks for them. So the library loads
// where UCX is not installed, and only a rank that asks for it hears that it is missing.
#pragma once

#include <ucp/api/ucp.h>

#include <string>

namespace accl::ucx {

// Pointers that stay good for the life of the process: UCX starts threads and hooks of its own, so
// it is never unloaded.
struct Api {
  // Throws Error (system) that names `library` and says what to install. Where this call is the one
  // that brings UCX into the process, UCX is told to leave signals alone and to keep its warnings
  // to itself, unless the user's UCX_* variables say otherwise.
  static Api load(const std::string& library);

  decltype(&ucp_config_read) config_read = nullptr;
  decltype(&ucp_config_release) config_release = nullptr;
  decltype(&ucp_init_version) init_version = nullptr;
  decltype(&ucp_cleanup) cleanup = nullptr;
  decltype(&ucp_worker_create) worker_create = nullptr;
  decltype(&ucp_worker_destroy) worker_destroy = nullptr;
  decltype(&ucp_worker_get_address) worker_get_address = nullptr;
  decltype(&ucp_worker_release_address) worker_release_address = nullptr;
  decltype(&ucp_worker_get_efd) worker_get_efd = nullptr;
  decltype(&ucp_worker_arm) worker_arm = nullptr;
  decltype(&ucp_worker_progress) worker_progress = nullptr;
  decltype(&ucp_worker_set_am_recv_handler) worker_set_am_recv_handler = nullptr;
  decltype(&ucp_ep_create) ep_create = nullptr;
  decltype(&ucp_ep_close_nbx) ep_close = nullptr;
  decltype(&ucp_ep_flush_nbx) ep_flush = nullptr;
  decltype(&ucp_am_send_nbx) am_send = nullptr;
  decltype(&ucp_am_recv_data_nbx) am_recv_data = nullptr;
  decltype(&ucp_request_free) request_free = nullptr;
  decltype(&ucs_status_string) status_string = nullptr;
};

}  // namespace accl::ucx
