// rail.h - the ports a rank uses, with what all channels over them share: the descriptors by which
// queues wake a sleeper, and the events of the devices.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "accl/base/clock.h"
#include "transport/verbs/port.h"

namespace accl::verbs {

// The completion queue of one channel on one rail.
struct Completions {
  Owned<ibv_cq> queue{nullptr, nullptr};
  bool is_armed = false;
};

// What a device told of itself.
struct RailNews {
  std::string words;     // Empty: nothing that ends connections.
  bool is_dead = false;  // Else its link is down, and may come back.
};

class Rail {
 public:
  explicit Rail(std::unique_ptr<Port> port);
  Rail(const Rail&) = delete;
  Rail& operator=(const Rail&) = delete;

  const Port& port() const { return *port_; }
  int wake_fd() const { return channel_->fd; }
  int event_fd() const { return port_->context()->async_fd; }

  // Where the completions of so many requests at a time fit. Its address must stay.
  void add_completions(Completions& to, std::uint32_t requests) const;

  // Takes what woke us: the queues that were armed are not any more.
  void drain() const;

  // Takes the device's events.
  RailNews read_events();

  // Whether its link is up now, and its device lives. Asks the device.
  bool works() const { return !is_dead_ && port_->is_up(); }

 private:
  std::unique_ptr<Port> port_;
  Owned<ibv_comp_channel> channel_;
  bool is_dead_ = false;
};

// Which of the ports that the settings admit.
struct RailChoice {
  std::string device;      // Its first port; empty, or not there: the next two decide.
  std::uint32_t turn = 0;  // This one, modulo how many there are,
  bool uses_all = false;   // or all of them.
};

// Their numbers stay: one that dies keeps its own, and what replaces it is added.
class Rails {
 public:
  // `added` is told of every rail that comes later, and may refuse it by an Error. Throws as
  // open_ports does.
  Rails(const Api& api, const Settings& settings, const RailChoice& choice,
        std::function<void(Rail&)> added);

  std::uint32_t count() const { return static_cast<std::uint32_t>(rails_.size()); }
  Rail& operator[](std::uint32_t number) const { return *rails_[number]; }

  // Which labels take which path: what the settings say, or is known since. Null: nothing.
  const PathTable* paths() const { return paths_.get(); }
  void set_paths(std::shared_ptr<const PathTable> paths) { paths_ = std::move(paths); }

  // The rail for a lane where no rail is to be spared: they take turns.
  std::uint32_t turn_of(std::uint32_t lane) const { return lane % first_count_; }
  std::uint32_t turns() const { return first_count_; }
  // This one if it works, else another of ours, else one that is opened now. Empty: none works. Who
  // suspects it gets another one if there is any. Never throws.
  std::optional<std::uint32_t> working(std::uint32_t wanted, bool is_suspect = false);

  // Connecting a queue asks the network for the peer's address, which may hold this thread for a
  // second. After one that did, nobody connects for a moment, so that whoever polls many channels
  // is held once at a time; who tries again waits longer, until others had their turn.
  bool may_connect(bool is_again) const;
  void connected_slowly() { slow_at_ = Clock::now(); }

 private:
  bool has(const Port& port) const;
  std::unique_ptr<Rail> open_spare(bool is_ethernet) const;

  const Api& api_;
  const Settings settings_;
  std::shared_ptr<const PathTable> paths_;
  const std::uint32_t turn_;
  const std::function<void(Rail&)> added_;
  std::vector<std::unique_ptr<Rail>> rails_;
  std::uint32_t first_count_ = 0;
  std::optional<Clock::time_point> slow_at_;
};

}  // namespace accl::verbs
