#include "transport/ucx/api.h"

#include <dlfcn.h>

#include <cstddef>
#include <cstdlib>

#include "accl/base/error.h"
#include "accl/base/log.h"

namespace accl::ucx {
namespace {

// A symbol of the library or of those it needs.
template <class Function>
void find(void* library, Function& function, const char* name, const std::string& file) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
  if (function != nullptr) return;
  fail(ErrorKind::system,
       "transport ucx: {} has no {}: it is older than UCX 1.11; install a newer one (Debian: "
       "apt-get install libucx0) or use --transport auto",
       file, name);
}

// UCX catches fatal signals and warns on stdout by default, neither of which a library may do to
// the program it is loaded into. Where these functions are missing, things stay as they are.
void calm(void* library) {
  using DisableSignals = void();
  using SetOption = ucs_status_t(const char*, const char*);
  auto* const disable_signals =
      reinterpret_cast<DisableSignals*>(::dlsym(library, "ucs_debug_disable_signals"));
  auto* const set_option =
      reinterpret_cast<SetOption*>(::dlsym(library, "ucs_global_opts_set_value"));
  const bool user_wants_signals = std::getenv("UCX_HANDLE_ERRORS") != nullptr;
  if (disable_signals != nullptr && !user_wants_signals) disable_signals();
  if (set_option == nullptr) return;
  const bool user_wants_log = std::getenv("UCX_LOG_LEVEL") != nullptr;
  if (!user_wants_log && !log_enabled(LogLevel::info)) set_option("LOG_LEVEL", "fatal");
  if (std::getenv("UCX_WARN_UNUSED_ENV_VARS") == nullptr) set_option("WARN_UNUSED_ENV_VARS", "n");
}

}  // namespace

Api Api::load(const std::string& library) {
  constexpr int how = RTLD_NOW | RTLD_LOCAL;
  const bool is_first = ::dlopen(library.c_str(), how | RTLD_NOLOAD) == nullptr;
  void* const handle = ::dlopen(library.c_str(), how);
  if (handle == nullptr) {
    const char* const why = ::dlerror();
    fail(ErrorKind::system,
         "transport ucx: cannot load UCX ({}); install it (Debian: apt-get install libucx0) or use "
         "--transport auto",
         why != nullptr ? why : library);
  }
  if (is_first) calm(handle);
  Api api;
  const auto get = [&](auto& function, const char* name) { find(handle, function, name, library); };
  get(api.config_read, "ucp_config_read");
  get(api.config_release, "ucp_config_release");
  get(api.init_version, "ucp_init_version");
  get(api.cleanup, "ucp_cleanup");
  get(api.worker_create, "ucp_worker_create");
  get(api.worker_destroy, "ucp_worker_destroy");
  get(api.worker_get_address, "ucp_worker_get_address");
  get(api.worker_release_address, "ucp_worker_release_address");
  get(api.worker_get_efd, "ucp_worker_get_efd");
  get(api.worker_arm, "ucp_worker_arm");
  get(api.worker_progress, "ucp_worker_progress");
  get(api.worker_set_am_recv_handler, "ucp_worker_set_am_recv_handler");
  get(api.ep_create, "ucp_ep_create");
  get(api.ep_close, "ucp_ep_close_nbx");
  get(api.ep_flush, "ucp_ep_flush_nbx");
  get(api.am_send, "ucp_am_send_nbx");
  get(api.am_recv_data, "ucp_am_recv_data_nbx");
  get(api.request_free, "ucp_request_free");
  get(api.status_string, "ucs_status_string");
  return api;
}

}  // namespace accl::ucx
