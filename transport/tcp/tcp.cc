#include "transport/tcp/tcp.h"

#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <utility>

#include "accl/base/error.h"
#include "transport/tcp/endpoint.h"

namespace accl {
namespace {

using tcp::Hub;
using tcp::TcpEndpoint;

constexpr int events_per_poll = 32;

class TcpTransport : public Transport {
 public:
  TcpTransport(const Geometry& geometry, const TcpOptions& options)
      : hub_(std::make_shared<Hub>()) {
    hub_->geometry = geometry;
    hub_->options = options;
    hub_->epoll.reset(::epoll_create1(EPOLL_CLOEXEC));
    if (!hub_->epoll) fail_system("tcp: cannot make an epoll descriptor", errno);
  }

  const char* name() const override { return "tcp"; }

  std::unique_ptr<Endpoint> open(Rank peer, Fd meeting) override {
    return std::make_unique<TcpEndpoint>(hub_, peer, std::move(meeting));
  }

  std::unique_ptr<Region> add(const Memory&) override { return nullptr; }

  bool poll() override {
    for (TcpEndpoint* endpoint : hub_->endpoints) endpoint->poll_out();
    if (hub_->endpoints.size() <= hub_->options.few_peers) {
      for (TcpEndpoint* endpoint : hub_->endpoints) endpoint->poll_in();
    } else {
      poll_ready();
    }
    hub_->news = false;  // Whoever polls looks at the counters afterwards.
    return true;
  }

  int event_fd() const override { return hub_->epoll.get(); }

  // Epoll tells a level, not an edge: what comes between here and the sleep still wakes.
  bool arm() override {
    hub_->armed = true;
    for (TcpEndpoint* endpoint : hub_->endpoints) endpoint->prepare_sleep();
    return !hub_->news;
  }

  void disarm() override {
    hub_->armed = false;
    for (TcpEndpoint* endpoint : hub_->endpoints) endpoint->end_sleep();
  }

 private:
  void poll_ready() {
    std::array<epoll_event, events_per_poll> events;
    const int count = ::epoll_wait(hub_->epoll.get(), events.data(), events_per_poll, 0);
    for (int i = 0; i < count; ++i) static_cast<TcpEndpoint*>(events[i].data.ptr)->poll_in();
  }

  std::shared_ptr<Hub> hub_;
};

}  // namespace

std::unique_ptr<Transport> make_tcp_transport(const Geometry& geometry, const TcpOptions& options) {
  check_geometry("tcp", geometry);
  return std::make_unique<TcpTransport>(geometry, options);
}

}  // namespace accl
