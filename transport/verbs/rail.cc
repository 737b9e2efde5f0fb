#include "transport/verbs/rail.h"

#include <fcntl.h>

#include <cerrno>

#include "accl/base/error.h"
#include "accl/base/log.h"

namespace accl::verbs {
namespace {

void never_block(int file) { ::fcntl(file, F_SETFL, ::fcntl(file, F_GETFL) | O_NONBLOCK); }

bool is_fatal(ibv_event_type type) {
  return type == IBV_EVENT_DEVICE_FATAL || type == IBV_EVENT_CQ_ERR;
}

}  // namespace

Rail::Rail(std::unique_ptr<Port> port)
    : port_(std::move(port)),
      channel_(port_->api().create_comp_channel(port_->context()),
               port_->api().destroy_comp_channel) {
  if (!channel_) fail_system("verbs: " + port_->text() + ": no completion channel", errno);
  never_block(channel_->fd);
  never_block(port_->context()->async_fd);
}

void Rail::add_completions(Completions& to, std::uint32_t requests) const {
  const auto depth = static_cast<int>(requests);
  if (depth > port_->limits().max_cqe) {
    fail(ErrorKind::system, "verbs: {}: its completion queues hold {}, and {} are needed",
         port_->text(), port_->limits().max_cqe, depth);
  }
  to.queue = {port_->api().create_cq(port_->context(), depth, &to, channel_.get(), 0),
              port_->api().destroy_cq};
  if (!to.queue) fail_system("verbs: " + port_->text() + ": no completion queue", errno);
}

void Rail::drain() const {
  ibv_cq* queue = nullptr;
  void* owner = nullptr;
  while (port_->api().get_cq_event(channel_.get(), &queue, &owner) == 0) {
    port_->api().ack_cq_events(queue, 1);
    static_cast<Completions*>(owner)->is_armed = false;
  }
}

std::string Rail::read_events() const {
  std::string fatal;
  ibv_async_event event{};
  while (port_->api().get_async_event(port_->context(), &event) == 0) {
    const char* const words = port_->api().event_type_str(event.event_type);
    log(LogLevel::warning, "verbs: {}: {}", port_->text(), words);
    if (is_fatal(event.event_type)) fatal = words;
    port_->api().ack_async_event(&event);
  }
  return fatal;
}

}  // namespace accl::verbs
