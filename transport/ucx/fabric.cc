#include "transport/ucx/fabric.h"

#include "accl/base/error.h"

namespace accl::ucx {
namespace {

// One call of UCX often handles one message. So many in a row, then the caller looks at what came.
constexpr int most_steps = 16;

constexpr unsigned note_id = 0;

}  // namespace

Fabric::Fabric(const std::string& library) : api_(Api::load(library)) {
  try {
    make_context();
    make_worker();
  } catch (...) {
    close();
    throw;
  }
}

Fabric::~Fabric() { close(); }

void Fabric::check(ucs_status_t status, const char* what) const {
  if (status == UCS_OK) return;
  fail(ErrorKind::system,
       "transport ucx: UCX cannot {}: {}; see whether UCX_TLS and UCX_NET_DEVICES name what this "
       "host has (ACCL_DEBUG=info lets UCX speak), or use --transport auto",
       what, words(status));
}

void Fabric::make_context() {
  ucp_config_t* config = nullptr;
  check(api_.config_read(nullptr, nullptr, &config), "read its settings");
  ucp_params_t params{};
  params.field_mask = UCP_PARAM_FIELD_FEATURES;
  params.features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP;
  const ucs_status_t status =
      api_.init_version(UCP_API_MAJOR, UCP_API_MINOR, &params, config, &context_);
  api_.config_release(config);
  check(status, "start");
}

void Fabric::make_worker() {
  ucp_worker_params_t params{};
  params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
  params.thread_mode = UCS_THREAD_MODE_SERIALIZED;
  check(api_.worker_create(context_, &params, &worker_), "open its devices");
  check(api_.worker_get_address(worker_, &address_, &address_bytes_), "name its address");
  check(api_.worker_get_efd(worker_, &event_fd_), "wake a sleeper");
}

void Fabric::close() {
  if (address_ != nullptr) api_.worker_release_address(worker_, address_);
  if (worker_ != nullptr) api_.worker_destroy(worker_);
  if (context_ != nullptr) api_.cleanup(context_);
}

std::span<const std::byte> Fabric::address() const {
  return {reinterpret_cast<const std::byte*>(address_), address_bytes_};
}

void Fabric::receive(ucp_am_recv_callback_t callback, void* argument) {
  ucp_am_handler_param_t params{};
  params.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_CB |
                      UCP_AM_HANDLER_PARAM_FIELD_ARG;
  params.id = note_id;
  params.cb = callback;
  params.arg = argument;
  check(api_.worker_set_am_recv_handler(worker_, &params), "receive active messages");
}

void Fabric::progress() {
  for (int i = 0; i < most_steps && api_.worker_progress(worker_) != 0;) ++i;
}

bool Fabric::arm() {
  for (int i = 0; i < most_steps; ++i) {
    const ucs_status_t status = api_.worker_arm(worker_);
    if (status == UCS_OK) return true;
    if (status != UCS_ERR_BUSY) return false;
    progress();
  }
  return false;
}

}  // namespace accl::ucx
