#include "transport/ucx/ucx.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "accl/base/assert.h"
#include "accl/base/error.h"
#include "transport/ucx/channel.h"

namespace accl {
namespace {

using ucx::Channel;
using ucx::Fabric;
using ucx::Note;

// Polls between two looks at the meeting sockets while nobody sleeps.
constexpr std::uint32_t polls_per_look = 256;

// UCX does not promise an event for all that can go on. While something is under way a sleeper
// wakes after so long at the latest.
constexpr long shortest_sleep_ns = 1'000'000;

constexpr int events_per_look = 32;

void watch(const Fd& set, int file, void* tag, const char* what) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = tag;
  if (::epoll_ctl(set.get(), EPOLL_CTL_ADD, file, &event) == 0) return;
  fail_system(fmt::format("ucx: cannot watch {}", what), errno);
}

// What the transport and its endpoints share; it lives as long as the last of them.
class Hub {
 public:
  Hub(const Geometry& geometry, const UcxOptions& options);

  std::uint32_t open(Rank peer, Fd meeting);
  Channel& channel(std::uint32_t number) { return *channels_[number]; }
  void join(Channel& channel, Rank peer, const Deadline& deadline);
  void leave(std::uint32_t number);

  void poll();
  int event_fd() const { return events_.get(); }
  bool arm();
  void disarm();

 private:
  static ucs_status_t on_note(void* hub, const void* header, std::size_t header_bytes, void* data,
                              std::size_t bytes, const ucp_am_recv_param_t* param);
  void look_at_meetings();
  void unwatch(Channel& channel);
  void set_timer(long in_ns);

  const Geometry geometry_;
  const UcxOptions options_;
  Fd meetings_;  // Every meeting socket, by channel.
  Fd timer_;
  Fd events_;  // UCX's, meetings_ and timer_.
  bool is_timer_set_ = false;
  std::uint32_t polls_ = 0;
  std::optional<Deadline> farewell_;                // From the first endpoint that left.
  std::vector<std::unique_ptr<Channel>> channels_;  // By number.
  Fabric fabric_;  // Behind the channels: it ends first, and touches their memory until then.
};

Hub::Hub(const Geometry& geometry, const UcxOptions& options)
    : geometry_(geometry),
      options_(options),
      meetings_(::epoll_create1(EPOLL_CLOEXEC)),
      timer_(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)),
      events_(::epoll_create1(EPOLL_CLOEXEC)),
      fabric_(options.shared_object) {
  if (!meetings_ || !timer_ || !events_) fail_system("ucx: cannot make a descriptor", errno);
  watch(events_, fabric_.event_fd(), nullptr, "UCX");
  watch(events_, meetings_.get(), nullptr, "connections");
  watch(events_, timer_.get(), nullptr, "a timer");
  fabric_.receive(on_note, this);
}

std::uint32_t Hub::open(Rank peer, Fd meeting) {
  const auto number = static_cast<std::uint32_t>(channels_.size());
  channels_.push_back(
      std::make_unique<Channel>(fabric_, geometry_, number, peer, std::move(meeting)));
  Channel& channel = *channels_.back();
  watch(meetings_, channel.meeting(), &channel, "a connection");
  return number;
}

// Notes for channels that have gone come late and mean nothing.
ucs_status_t Hub::on_note(void* hub, const void* header, std::size_t header_bytes, void* data,
                          std::size_t bytes, const ucp_am_recv_param_t* param) {
  auto& channels = static_cast<Hub*>(hub)->channels_;
  Note note;
  if (header_bytes != sizeof note) return UCS_OK;
  std::memcpy(&note, header, sizeof note);
  if (note.channel >= channels.size()) return UCS_OK;
  const bool is_at_peer = (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) != 0;
  return channels[note.channel]->take(note, data, bytes, is_at_peer);
}

// All that are being joined go on together: their peers may join in any order.
void Hub::join(Channel& channel, Rank peer, const Deadline& deadline) {
  for (;;) {
    fabric_.progress();
    for (const auto& one : channels_) one->step_join();
    if (channel.is_joined()) return;
    if (channel.refusal()) throw Error(*channel.refusal());
    if (deadline.passed()) {
      fail(ErrorKind::timeout, "ucx: rank {} did not join in time; is it running?", index(peer));
    }
    pollfd waiting{meetings_.get(), POLLIN, 0};
    ::poll(&waiting, 1, 1);
  }
}

void Hub::leave(std::uint32_t number) {
  // From here on nobody polls for a message: none may land in memory of the user any more.
  for (const auto& one : channels_) one->inbox().forget_expectations();
  if (!farewell_) farewell_.emplace(options_.farewell);
  Channel& channel = *channels_[number];
  channel.leave(*farewell_);
  unwatch(channel);
}

// Closing would do, but for a forked child that may hold the socket too.
void Hub::unwatch(Channel& channel) {
  ::epoll_ctl(meetings_.get(), EPOLL_CTL_DEL, channel.meeting(), nullptr);
  channel.close_meeting();
}

void Hub::poll() {
  if (++polls_ >= polls_per_look) look_at_meetings();
  fabric_.progress();
  for (const auto& channel : channels_) {
    channel->poll();
    if (channel->broken() && channel->meeting() >= 0) unwatch(*channel);
  }
  fabric_.news = false;  // Whoever polls looks at the counters afterwards.
}

void Hub::look_at_meetings() {
  polls_ = 0;
  std::array<epoll_event, events_per_look> events;
  const int count = ::epoll_wait(meetings_.get(), events.data(), events_per_look, 0);
  for (int i = 0; i < count; ++i) {
    auto& channel = *static_cast<Channel*>(events[i].data.ptr);
    channel.read_meeting();
    if (!channel.is_ending()) continue;  // It is closed soon, and would stay readable until then.
    ::epoll_ctl(meetings_.get(), EPOLL_CTL_DEL, channel.meeting(), nullptr);
  }
}

bool Hub::arm() {
  fabric_.armed = true;
  for (const auto& channel : channels_) channel->tell_releases();
  const bool is_armed = fabric_.arm();
  const bool is_ending =
      std::ranges::any_of(channels_, [](const auto& channel) { return channel->is_ending(); });
  if (is_ending || fabric_.under_way > 0) set_timer(shortest_sleep_ns);
  return is_armed && !fabric_.news;
}

void Hub::disarm() {
  fabric_.armed = false;
  if (is_timer_set_) set_timer(0);
  polls_ = polls_per_look;  // What ended the sleep may have been the end of a peer.
}

void Hub::set_timer(long in_ns) {
  itimerspec when{};
  when.it_value.tv_nsec = in_ns;
  ::timerfd_settime(timer_.get(), 0, &when, nullptr);
  is_timer_set_ = in_ns != 0;
}

class UcxEndpoint : public Endpoint {
 public:
  UcxEndpoint(std::shared_ptr<Hub> hub, Rank peer, Fd meeting)
      : hub_(std::move(hub)),
        peer_(peer),
        number_(hub_->open(peer, std::move(meeting))),
        channel_(hub_->channel(number_)) {}
  ~UcxEndpoint() override { hub_->leave(number_); }

  void finish(const Deadline& deadline) override { hub_->join(channel_, peer_, deadline); }
  LaneCounters counters(std::uint32_t lane) const override { return channel_.counters(lane); }
  std::byte* outbox(std::uint32_t) override { return nullptr; }
  const std::byte* inbox(std::uint32_t lane) const override { return channel_.inbox().ring(lane); }
  bool put(std::uint32_t lane, const Parcel& parcel) override { return channel_.put(lane, parcel); }
  void release(std::uint32_t lane, std::uint32_t position) override {
    channel_.release(lane, position);
  }
  bool tells_along() const override { return true; }
  bool expect(std::uint32_t lane, std::uint32_t until, std::span<std::byte> target) override {
    return channel_.inbox().expect(lane, until, target);
  }
  bool took(std::uint32_t lane, std::uint32_t until) const override {
    return channel_.inbox().took(lane, until);
  }
  const std::byte* view(const RegionKey&, std::uint64_t, std::uint64_t) override { return nullptr; }
  std::string failure() const override {
    return channel_.broken() ? channel_.failure() : std::string();
  }
  bool broken() const override { return channel_.broken(); }

 private:
  std::shared_ptr<Hub> hub_;
  Rank peer_;
  std::uint32_t number_;
  Channel& channel_;
};

class UcxTransport : public Transport {
 public:
  UcxTransport(const Geometry& geometry, const UcxOptions& options)
      : hub_(std::make_shared<Hub>(geometry, options)) {}

  const char* name() const override { return "ucx"; }
  std::unique_ptr<Endpoint> open(Rank peer, Fd meeting) override {
    return std::make_unique<UcxEndpoint>(hub_, peer, std::move(meeting));
  }
  std::unique_ptr<Region> add(const Memory&) override { return nullptr; }
  bool poll() override {
    hub_->poll();
    return true;
  }
  int event_fd() const override { return hub_->event_fd(); }
  bool arm() override { return hub_->arm(); }
  void disarm() override { hub_->disarm(); }

 private:
  std::shared_ptr<Hub> hub_;
};

}  // namespace

std::unique_ptr<Transport> make_ucx_transport(const Geometry& geometry, const UcxOptions& options) {
  check_geometry("ucx", geometry);
  return std::make_unique<UcxTransport>(geometry, options);
}

}  // namespace accl
