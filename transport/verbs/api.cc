#include "transport/verbs/api.h"

#include <dlfcn.h>

#include "accl/base/error.h"

namespace accl::verbs {
namespace {

constexpr const char* remedy =
    "install it (Debian: apt-get install libibverbs1 ibverbs-providers) or use --transport auto";

// Null where there is none.
template <class Function>
void seek(void* library, Function& function, const char* name) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
}

template <class Function>
void find(void* library, Function& function, const char* name, const std::string& file) {
  seek(library, function, name);
  if (function != nullptr) return;
  fail(ErrorKind::system, "transport verbs: {} has no {}: it is too old; {}", file, name, remedy);
}

// In libibverbs only where that is a stand-in; else in the driver's own library, where it is here.
void seek_mlx5(void* library, Api& api) {
  if (::dlsym(library, "mlx5dv_is_supported") == nullptr) {
    library = ::dlopen("libmlx5.so.1", RTLD_NOW | RTLD_LOCAL);
  }
  if (library == nullptr) return;
  seek(library, api.mlx5_is_supported, "mlx5dv_is_supported");
  seek(library, api.mlx5_modify_qp_udp_sport, "mlx5dv_modify_qp_udp_sport");
}

}  // namespace

Api Api::load(const std::string& library) {
  void* const handle = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* const why = ::dlerror();
    fail(ErrorKind::system, "transport verbs: cannot load libibverbs ({}); {}",
         why != nullptr ? why : library, remedy);
  }
  Api api;
  const auto get = [&](auto& function, const char* name) { find(handle, function, name, library); };
  get(api.get_device_list, "ibv_get_device_list");
  get(api.free_device_list, "ibv_free_device_list");
  get(api.open_device, "ibv_open_device");
  get(api.close_device, "ibv_close_device");
  get(api.query_device, "ibv_query_device");
  get(api.query_port, "ibv_query_port");
  get(api.query_gid, "ibv_query_gid");
  get(api.alloc_pd, "ibv_alloc_pd");
  get(api.dealloc_pd, "ibv_dealloc_pd");
  get(api.reg_mr, "ibv_reg_mr");
  get(api.dereg_mr, "ibv_dereg_mr");
  seek(handle, api.reg_mr_iova2, "ibv_reg_mr_iova2");
  seek(handle, api.reg_dmabuf_mr, "ibv_reg_dmabuf_mr");
  seek(handle, api.qp_to_qp_ex, "ibv_qp_to_qp_ex");
  get(api.create_comp_channel, "ibv_create_comp_channel");
  get(api.destroy_comp_channel, "ibv_destroy_comp_channel");
  get(api.create_cq, "ibv_create_cq");
  get(api.destroy_cq, "ibv_destroy_cq");
  get(api.get_cq_event, "ibv_get_cq_event");
  get(api.ack_cq_events, "ibv_ack_cq_events");
  get(api.create_qp, "ibv_create_qp");
  get(api.modify_qp, "ibv_modify_qp");
  get(api.query_qp, "ibv_query_qp");
  get(api.destroy_qp, "ibv_destroy_qp");
  get(api.get_async_event, "ibv_get_async_event");
  get(api.ack_async_event, "ibv_ack_async_event");
  get(api.wc_status_str, "ibv_wc_status_str");
  get(api.event_type_str, "ibv_event_type_str");
  seek_mlx5(handle, api);
  return api;
}

}  // namespace accl::verbs
