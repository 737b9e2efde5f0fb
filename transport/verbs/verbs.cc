#include "transport/verbs/verbs.h"

#include <poll.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>
#include <vector>

#include "accl/base/error.h"
#include "accl/base/log.h"
#include "transport/verbs/channel.h"

namespace accl {
namespace {

using verbs::Channel;
using verbs::Rail;
using verbs::RailNews;

// Polls between two looks at the meeting sockets and the devices' events while nobody sleeps: a
// look is a system call, a poll a load or two. About a millisecond.
constexpr std::uint32_t polls_per_look = 8192;
constexpr int events_per_look = 32;

void watch(const Fd& set, int file, void* tag, const char* what) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = tag;
  if (::epoll_ctl(set.get(), EPOLL_CTL_ADD, file, &event) == 0) return;
  fail_system(fmt::format("verbs: cannot watch {}", what), errno);
}

Fd make_set() {
  Fd set(::epoll_create1(EPOLL_CLOEXEC));
  if (!set) fail_system("verbs: cannot make a descriptor", errno);
  return set;
}

void unwatch(const Fd& set, int file) { ::epoll_ctl(set.get(), EPOLL_CTL_DEL, file, nullptr); }

// What the transport and its endpoints share; it lives as long as the last of them.
class Hub {
 public:
  Hub(const Geometry& geometry, const VerbsOptions& options);

  std::unique_ptr<Channel> open(Rank peer, Fd meeting);
  void join(Channel& channel, Rank peer, const Deadline& deadline);
  void leave(Channel& channel);
  verbs::Registry& registry() { return registry_; }
  void give_back(std::span<const std::byte> memory);

  bool poll();
  int event_fd() const { return events_.get(); }
  bool arm();
  void disarm();

 private:
  void take_rail(Rail& rail);
  void look_aside();
  void hear_devices();
  void hear_of_paths();
  void drop_meeting(Channel& channel);

  const Geometry geometry_;
  const Milliseconds farewell_time_;
  const std::vector<std::uint32_t> network_paths_;  // By peer, or empty.
  const verbs::Api api_;
  const verbs::Settings settings_;
  Fd meetings_;  // Every meeting socket, by channel, and every device's events.
  Fd events_;    // The rails' completions and meetings_.
  verbs::Rails rails_;
  verbs::Registry registry_;
  verbs::PathFile path_file_;
  std::uint32_t polls_ = 0;
  std::optional<Deadline> farewell_;  // From the first endpoint that left.
  std::vector<Channel*> channels_;
};

Hub::Hub(const Geometry& geometry, const VerbsOptions& options)
    : geometry_(geometry),
      farewell_time_(options.farewell),
      network_paths_(options.network_paths),
      api_(verbs::Api::load(options.shared_object)),
      settings_(options.settings ? *options.settings : verbs::read_settings()),
      meetings_(make_set()),
      events_(make_set()),
      rails_(api_, settings_, {options.device, options.turn, options.uses_all},
             [this](Rail& rail) { take_rail(rail); }),
      registry_(settings_.gpu),
      path_file_(settings_.flow_labels.empty() && settings_.fails_over ? settings_.paths_file
                                                                       : "") {
  watch(events_, meetings_.get(), nullptr, "connections");
  for (std::uint32_t i = 0; i < rails_.count(); ++i) take_rail(rails_[i]);
}

void Hub::take_rail(Rail& rail) {
  watch(events_, rail.wake_fd(), nullptr, "completions");
  watch(meetings_, rail.event_fd(), nullptr, "a device");
  registry_.add_rail(rail.port());
}

std::unique_ptr<Channel> Hub::open(Rank peer, Fd meeting) {
  std::optional<std::uint32_t> path;
  if (index(peer) < network_paths_.size()) path = network_paths_[index(peer)];
  auto channel =
      std::make_unique<Channel>(rails_, geometry_, peer, std::move(meeting), &registry_, path);
  farewell_.reset();  // Whoever left before had its time.
  channels_.reserve(channels_.size() + 1);
  watch(meetings_, channel->meeting(), channel.get(), "a connection");
  channels_.push_back(channel.get());  // Last: nothing may throw behind it.
  return channel;
}

// All that are being joined go on together: their peers may join in any order.
void Hub::join(Channel& channel, Rank peer, const Deadline& deadline) {
  for (;;) {
    look_aside();
    for (Channel* one : channels_) one->step_join();
    for (Channel* one : channels_) one->poll();  // Those that are joined may have to restart.
    if (channel.is_joined()) return;
    if (channel.refusal()) throw Error(*channel.refusal());
    if (deadline.passed()) {
      fail(ErrorKind::timeout, "verbs: rank {} did not join in time; is it running?", index(peer));
    }
    pollfd waiting{channel.meeting(), POLLIN, 0};
    constexpr int step_ms = 10;
    ::poll(&waiting, 1, std::min(step_ms, deadline.left_ms()));
  }
}

void Hub::leave(Channel& channel) {
  if (!farewell_ && channel.is_joined()) farewell_.emplace(farewell_time_);
  channel.leave(farewell_ ? *farewell_ : Deadline(Milliseconds(0)));
  drop_meeting(channel);
  std::erase(channels_, &channel);
}

void Hub::give_back(std::span<const std::byte> memory) {
  for (Channel* channel : channels_) channel->give_back(memory);
}

// Closing would do, but for a forked child that may hold the socket too.
void Hub::drop_meeting(Channel& channel) {
  unwatch(meetings_, channel.meeting());
  channel.close_meeting();
}

bool Hub::poll() {
  const bool looks = ++polls_ >= polls_per_look;
  if (looks) look_aside();
  bool has_news = looks;
  for (Channel* channel : channels_) {
    const bool was_calm = channel->is_calm();
    has_news = channel->poll() || !was_calm || !channel->is_calm() || has_news;
    if (channel->broken() && channel->meeting() >= 0) drop_meeting(*channel);
  }
  if (!looks) return has_news;
  const Clock::time_point now = Clock::now();
  for (Channel* channel : channels_) channel->note_silence(now);
  return true;
}

void Hub::look_aside() {
  polls_ = 0;
  std::array<epoll_event, events_per_look> events;
  const int count = ::epoll_wait(meetings_.get(), events.data(), events_per_look, 0);
  bool is_device = false;
  for (int i = 0; i < count; ++i) {
    is_device = is_device || events[i].data.ptr == nullptr;
    if (events[i].data.ptr == nullptr) continue;
    auto& channel = *static_cast<Channel*>(events[i].data.ptr);
    channel.read_meeting();
    if (!channel.is_ending()) continue;  // It is closed soon, and would stay readable until then.
    unwatch(meetings_, channel.meeting());
  }
  if (is_device) hear_devices();
  hear_of_paths();
}

void Hub::hear_of_paths() {
  std::shared_ptr<const verbs::PathTable> paths = path_file_.news();
  if (paths == nullptr) return;
  log(LogLevel::info, "verbs: {} has new paths", settings_.paths_file);
  rails_.set_paths(std::move(paths));
  for (Channel* channel : channels_) channel->move();
}

// A link that is down is waited for, unless there is another one to go on with.
void Hub::hear_devices() {
  for (std::uint32_t i = 0; i < rails_.count(); ++i) {
    const RailNews news = rails_[i].read_events();
    if (news.words.empty()) continue;
    const bool is_replaced = settings_.fails_over && rails_.working(i).value_or(i) != i;
    if (!news.is_dead && !is_replaced) continue;
    for (Channel* channel : channels_) channel->lose_rail(i, news.words);
  }
}

bool Hub::arm() {
  bool has_news = false;
  for (Channel* channel : channels_) has_news = !channel->arm() || has_news;
  // What came before they were armed gives no event.
  for (Channel* channel : channels_) has_news = channel->poll() || has_news;
  return !has_news;
}

void Hub::disarm() {
  for (std::uint32_t i = 0; i < rails_.count(); ++i) rails_[i].drain();
  polls_ = polls_per_look;  // What ended the sleep may have been the end of a peer.
}

class VerbsEndpoint : public Endpoint {
 public:
  VerbsEndpoint(std::shared_ptr<Hub> hub, Rank peer, Fd meeting)
      : hub_(std::move(hub)), peer_(peer), channel_(hub_->open(peer, std::move(meeting))) {}
  ~VerbsEndpoint() override { hub_->leave(*channel_); }

  void finish(const Deadline& deadline) override { hub_->join(*channel_, peer_, deadline); }
  LaneCounters counters(std::uint32_t lane) const override { return channel_->counters(lane); }
  std::byte* outbox(std::uint32_t) override { return nullptr; }
  const std::byte* inbox(std::uint32_t lane) const override { return channel_->inbox(lane); }
  bool put(std::uint32_t lane, const Parcel& parcel) override {
    return channel_->put(lane, parcel);
  }
  void release(std::uint32_t lane, std::uint32_t position) override {
    channel_->release(lane, position);
  }
  bool tells_along() const override { return channel_->tells_along(); }
  bool expect(std::uint32_t lane, std::uint32_t until, std::span<std::byte> target) override {
    return channel_->expect(lane, until, target);
  }
  bool took(std::uint32_t lane, std::uint32_t until) const override {
    return channel_->took(lane, until);
  }
  void withdraw() override { channel_->withdraw(); }
  const std::byte* view(const RegionKey&, std::uint64_t, std::uint64_t) override { return nullptr; }
  std::string path() const override { return channel_->path(); }
  std::optional<Stall> stall() const override { return channel_->stall(); }
  std::string failure() const override {
    return channel_->broken() ? channel_->failure() : std::string();
  }
  bool broken() const override { return channel_->broken(); }

 private:
  std::shared_ptr<Hub> hub_;
  Rank peer_;
  std::unique_ptr<Channel> channel_;
};

// words: address, bytes, and the key by which peers may write there over the first rail; 0: none.
class VerbsRegion : public Region {
 public:
  VerbsRegion(std::shared_ptr<Hub> hub, const Memory& memory)
      : hub_(std::move(hub)), claim_(hub_->registry().add(memory)) {}
  ~VerbsRegion() override { hub_->give_back(claim_.bytes()); }

  RegionKey key() const override {
    const verbs::Registration& known = claim_.registration();
    const std::uint32_t key = known.on(0) != nullptr ? known.on(0)->rkey : 0;
    return {{reinterpret_cast<std::uint64_t>(claim_.bytes().data()), claim_.bytes().size(), key}};
  }

 private:
  std::shared_ptr<Hub> hub_;
  verbs::Registry::Claim claim_;
};

class VerbsTransport : public Transport {
 public:
  VerbsTransport(const Geometry& geometry, const VerbsOptions& options)
      : hub_(std::make_shared<Hub>(geometry, options)) {}

  const char* name() const override { return "verbs"; }
  std::unique_ptr<Endpoint> open(Rank peer, Fd meeting) override {
    return std::make_unique<VerbsEndpoint>(hub_, peer, std::move(meeting));
  }
  std::unique_ptr<Region> add(const Memory& memory) override {
    return memory.bytes.empty() ? nullptr : std::make_unique<VerbsRegion>(hub_, memory);
  }
  bool poll() override { return hub_->poll(); }
  int event_fd() const override { return hub_->event_fd(); }
  bool arm() override { return hub_->arm(); }
  void disarm() override { hub_->disarm(); }

 private:
  std::shared_ptr<Hub> hub_;
};

}  // namespace

std::unique_ptr<Transport> make_verbs_transport(const Geometry& geometry,
                                                const VerbsOptions& options) {
  check_geometry("verbs", geometry);
  return std::make_unique<VerbsTransport>(geometry, options);
}

}  // namespace accl
