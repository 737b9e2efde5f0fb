// controls.cc - what tests tell the fake, and ask it.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <string_view>

#include "tests/verbs/fake/state.h"

namespace accl::fake {

State& state() {
  static State one;
  return one;
}

void violate(const char* what) {
  if (state().violation.empty()) state().violation = what;
}

bool fails() {
  State& all = state();
  if (++all.calls != all.failing_call) return false;
  errno = all.failing_errno;
  return true;
}

ibv_context& base_of(Context& context) { return context.extended.context; }

Context& context_of(const ibv_context* context) {
  const auto at = reinterpret_cast<std::uintptr_t>(context) - offsetof(verbs_context, context);
  return *reinterpret_cast<Context*>(at - offsetof(Context, extended));
}

bool has_link(const ibv_context* context) {
  return (state().dead_links >> context_of(context).index & 1) == 0;
}

void raise_event(std::uint32_t device, ibv_event_type type) {
  for (Context* const context : state().contexts) {
    if (context->index != device) continue;
    context->events.push_back(type);
    const std::uint64_t one = 1;
    static_cast<void>(!::write(base_of(*context).async_fd, &one, sizeof one));
  }
}

}  // namespace accl::fake

using namespace accl::fake;

extern "C" {

std::uint32_t fake_verbs_living() {
  const Lock lock(state().mutex);
  return state().living;
}

const char* fake_verbs_violation() { return state().violation.c_str(); }

void fake_verbs_reset() {
  const Lock lock(state().mutex);
  State& all = state();
  all.violation.clear();
  all.labels.clear();
  all.calls = all.failing_call = all.posted = all.breaking_request = 0;
  all.counts = {};
  all.looking_ms = 0;
  all.holding = 0;
  all.held.clear();
  all.dead_links = all.down_ports = 0;
  all.dma_buf_error = 0;
  const char* const kind = std::getenv("ACCL_FAKE_VERBS_POST");
  all.extended_error = kind != nullptr && std::string_view(kind) == "classic" ? -1 : 0;
  all.looks_until_drained = all.mlx5 = 0;
  all.sent_by_label = {};
  all.refuses_relaxed = false;
  all.peer_memory = nullptr;
  all.recorder = nullptr;
  all.device_count = 1;
  all.port_count = 1;
}

void fake_verbs_set_devices(std::uint32_t count) {
  const Lock lock(state().mutex);
  state().device_count = std::min<std::uint32_t>(count, state().devices.size());
}

void fake_verbs_set_ports(std::uint32_t count) {
  const Lock lock(state().mutex);
  state().port_count = static_cast<std::uint8_t>(count);
}

void fake_verbs_fail_call(std::uint32_t k, int error) {
  const Lock lock(state().mutex);
  state().calls = 0;
  state().failing_call = k;
  state().failing_errno = error;
}

std::uint32_t fake_verbs_calls() {
  const Lock lock(state().mutex);
  return state().calls;
}

void fake_verbs_break_request(std::uint32_t k, int status, int is_delivered) {
  const Lock lock(state().mutex);
  state().posted = 0;
  state().breaking_request = k;
  state().breaking_status = status;
  state().is_broken_delivered = is_delivered != 0;
}

void fake_verbs_set_link(std::uint32_t device, int is_up, int tells) {
  const Lock lock(state().mutex);
  State& all = state();
  const std::uint32_t bit = 1U << device;
  all.dead_links = is_up != 0 ? all.dead_links & ~bit : all.dead_links | bit;
  if (tells == 0) return;
  all.down_ports = is_up != 0 ? all.down_ports & ~bit : all.down_ports | bit;
  raise_event(device, is_up != 0 ? IBV_EVENT_PORT_ACTIVE : IBV_EVENT_PORT_ERR);
}

void fake_verbs_hold(int which) {
  const Lock lock(state().mutex);
  state().holding = which;
  if (which == 0) let_go();
}

void fake_verbs_look_for(std::uint32_t ms) {
  const Lock lock(state().mutex);
  state().looking_ms = ms;
}

void fake_verbs_raise(int event) {
  const Lock lock(state().mutex);
  raise_event(0, static_cast<ibv_event_type>(event));
}

FakeVerbsCounts fake_verbs_counts() {
  const Lock lock(state().mutex);
  return state().counts;
}

void fake_verbs_set_extended(int error) {
  const Lock lock(state().mutex);
  state().extended_error = error;
}

void fake_verbs_set_drain(int looks) {
  const Lock lock(state().mutex);
  state().looks_until_drained = looks;
}

void fake_verbs_set_mlx5(int kind) {
  const Lock lock(state().mutex);
  state().mlx5 = kind;
}

std::uint32_t fake_verbs_draining() {
  const Lock lock(state().mutex);
  return static_cast<std::uint32_t>(std::ranges::count_if(
      state().queues, [](const auto& entry) { return entry.second->state == IBV_QPS_SQD; }));
}

std::uint64_t fake_verbs_sent_by_label(std::uint32_t label) {
  const Lock lock(state().mutex);
  return state().sent_by_label.at(label);
}

std::uint32_t fake_verbs_labels(std::uint32_t* labels, std::uint32_t most) {
  const Lock lock(state().mutex);
  const auto& all = state().labels;
  std::copy_n(all.begin(), std::min<std::size_t>(most, all.size()), labels);
  return static_cast<std::uint32_t>(all.size());
}
}
