#include "transport/verbs/rail.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <exception>

#include "accl/base/error.h"
#include "accl/base/log.h"

namespace accl::verbs {
namespace {

constexpr auto pause = std::chrono::milliseconds(10);
constexpr auto pause_of_others = std::chrono::milliseconds(50);

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

RailNews Rail::read_events() {
  RailNews news;
  ibv_async_event event{};
  while (port_->api().get_async_event(port_->context(), &event) == 0) {
    const char* const words = port_->api().event_type_str(event.event_type);
    const bool is_wanted = event.event_type == IBV_EVENT_SQ_DRAINED;  // Of a queue that moves.
    if (!is_wanted) log(LogLevel::warning, "verbs: {}: {}", port_->text(), words);
    is_dead_ = is_dead_ || is_fatal(event.event_type);
    const bool is_ours = event.element.port_num == port_->number();
    const bool is_down = event.event_type == IBV_EVENT_PORT_ERR && is_ours;
    if (is_fatal(event.event_type) || (is_down && news.words.empty())) news.words = words;
    port_->api().ack_async_event(&event);
  }
  news.is_dead = is_dead_;
  return news;
}

Rails::Rails(const Api& api, const Settings& settings, const RailChoice& choice,
             std::function<void(Rail&)> added)
    : api_(api),
      settings_(settings),
      paths_(settings.paths),
      turn_(choice.turn),
      added_(std::move(added)) {
  auto ports = open_ports(api_, settings_);
  const auto wanted = std::ranges::find(
      ports, choice.device, [](const auto& port) -> const auto& { return port->device(); });
  std::size_t first = choice.uses_all ? 0 : choice.turn % ports.size();
  if (wanted != ports.end()) first = static_cast<std::size_t>(wanted - ports.begin());
  const bool is_one = wanted != ports.end() || !choice.uses_all;
  const std::size_t count = is_one ? 1 : ports.size();
  for (std::size_t i = 0; i < count; ++i) {
    rails_.push_back(std::make_unique<Rail>(std::move(ports[first + i])));
    log(LogLevel::info, "verbs: using {}", rails_.back()->port().text());
  }
  first_count_ = static_cast<std::uint32_t>(count);
}

bool Rails::has(const Port& port) const {
  return std::ranges::any_of(rails_, [&](const std::unique_ptr<Rail>& rail) {
    return rail->port().device() == port.device() && rail->port().number() == port.number();
  });
}

// One that we had is only good where there is no other: its device may have come back. Null: none.
std::unique_ptr<Rail> Rails::open_spare(bool is_ethernet) const {
  try {
    auto ports = open_ports(api_, settings_);
    std::erase_if(ports, [&](const auto& port) { return port->is_ethernet() != is_ethernet; });
    const auto old = std::ranges::stable_partition(
        ports, [&](const std::unique_ptr<Port>& port) { return !has(*port); });
    const std::size_t fresh = ports.size() - old.size();
    if (ports.empty()) return nullptr;
    return std::make_unique<Rail>(std::move(ports[fresh > 0 ? turn_ % fresh : 0]));
  } catch (const std::exception& error) {
    log(LogLevel::info, "{}", error.what());
    return nullptr;
  }
}

bool Rails::may_connect(bool is_again) const {
  return !slow_at_ || Clock::now() - *slow_at_ > (is_again ? pause_of_others : pause);
}

std::optional<std::uint32_t> Rails::working(std::uint32_t wanted, bool is_suspect) {
  const bool works = rails_[wanted]->works();
  if (works && !is_suspect) return wanted;
  for (std::uint32_t i = 0; i < count(); ++i) {
    if (i != wanted && rails_[i]->works()) return i;
  }
  auto spare = settings_.fails_over ? open_spare(rails_[wanted]->port().is_ethernet()) : nullptr;
  const bool is_old = spare != nullptr && has(spare->port());
  if ((works && spare == nullptr) || (is_old && rails_[wanted]->works())) return wanted;
  if (spare == nullptr) return std::nullopt;
  try {
    rails_.reserve(rails_.size() + 1);
    added_(*spare);
  } catch (const std::exception& error) {
    log(LogLevel::info, "{}", error.what());
    return std::nullopt;
  }
  log(LogLevel::info, "verbs: using {}", spare->port().text());
  rails_.push_back(std::move(spare));
  return count() - 1;
}

}  // namespace accl::verbs
