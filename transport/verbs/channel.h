// channel.h - one peer over RDMA: a queue pair for every lane, a ring that the peer writes into,
// and a copy of ours of each ring of the peer, from which the device reads.
//
// A message is one write, head and payload together, to its place in the peer's ring; its immediate
// value is the position behind it. Messages of a lane cannot overtake each other, so that position
// is all that the receiver must know. What is put from unregistered memory is copied to the same
// place in our copy of the ring, which is free exactly as long as the peer's.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "accl/base/error.h"
#include "transport/lazy_memory.h"
#include "transport/talk.h"
#include "transport/verbs/queue.h"
#include "transport/verbs/rail.h"

namespace accl::verbs {

class Channel {
 public:
  // Greets the peer over the meeting socket. Lane i is on rail i modulo their number; they outlive
  // the channel. All lanes are pinned to `network_path`, where one is given and ACCL_IB_PATHS has
  // paths to this peer. Throws Error (system) where a device has no more queues or memory.
  Channel(std::span<const std::unique_ptr<Rail>> rails, const Geometry& geometry, Rank peer,
          Fd meeting, std::optional<std::uint32_t> network_path = std::nullopt);
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  ~Channel() = default;

  // --- Joining ---------------------------------------------------------------------------------

  // Goes on as far as it can without waiting.
  void step_join();
  bool is_joined() const { return stage_ == Stage::joined; }
  // Why it never will be.
  const std::optional<Error>& refusal() const { return refusal_; }
  // "mlx5_0 port 1, GID 3 (10.0.0.1) to 10.0.0.2": of the first lane.
  const std::string& path() const { return path_; }

  // --- Carrying: see Endpoint ------------------------------------------------------------------

  LaneCounters counters(std::uint32_t lane) const;
  const std::byte* inbox(std::uint32_t lane) const;
  bool put(std::uint32_t lane, const Parcel& parcel);
  void release(std::uint32_t lane, std::uint32_t position);

  // Takes completions, and tells releases. True where anything came.
  bool poll();
  // The device wakes us for what comes from here on.
  void arm();

  // --- The end ---------------------------------------------------------------------------------

  int meeting() const { return talk_.file(); }
  void close_meeting() { talk_.close(); }
  void read_meeting();
  void lose_rail(const Rail& rail, const std::string& why);
  bool is_ending() const { return ending_since_.has_value() && !broken_; }
  bool broken() const { return broken_; }
  const std::string& failure() const { return failure_; }

  // Sees the last messages off and closes, at the latest at the deadline.
  void leave(const Deadline& deadline);

 private:
  enum class Stage : std::uint8_t { greeting, connecting, joined, left };

  struct alignas(64) Lane {
    std::atomic<std::uint32_t> arrived{0}, released{0}, sent{0};
    std::uint32_t put_until = 0;
    std::uint32_t freed = 0, told = 0;  // Our own last release, and what the peer heard of it.
    std::uint64_t peer_inbox = 0;
    std::uint32_t peer_key = 0;
    std::uint32_t memory_key = 0;  // Of `memory_`, on this lane's rail.
    std::size_t ring_at = 0;       // Of our inbox, in `memory_`; the copy is behind all of those.
    std::optional<Queue> queue;
    // Positions behind messages the peer has not released: as many as it has receives for.
    std::array<std::uint32_t, message_window> window{};
    std::uint32_t window_first = 0, window_next = 0;  // They run on, and are masked on use.
  };

  const Rail& rail_of(std::uint32_t lane) const { return *rails_[lane % rails_.size()]; }
  std::byte* outbox(std::uint32_t lane);

  void refuse(ErrorKind kind, const std::string& text);
  void say_opening();
  bool take_opening();
  bool connect_lanes(const Opening& theirs);
  void take_ready();
  void take_farewell();
  std::uint32_t flow_label(std::uint32_t lane, const Opening& theirs) const;

  bool has_window(Lane& lane);
  std::uint32_t pack(std::uint32_t lane, const Parcel& parcel);
  bool poll(Completions& completions);
  void take(const ibv_wc& done);
  void fail_request(const Ticket& ticket, const ibv_wc& done);
  void take_message(Lane& lane, std::uint32_t until);
  void take_word(Lane& lane, std::uint32_t position);
  void note_post(std::uint32_t lane, int error);  // An errno of the driver, or 0.
  void tell_releases();
  void tell_release(std::uint32_t lane, bool is_signalled);

  void begin_end(std::string reason);
  void conclude();
  bool has_all_of(const Farewell& farewell) const;
  bool is_all_acknowledged() const;
  std::uint64_t ask_for_answers(std::uint64_t lanes);
  void settle(const Deadline& deadline);

  const std::span<const std::unique_ptr<Rail>> rails_;
  const Geometry geometry_;
  const Rank peer_;
  const std::optional<std::uint32_t> network_path_;
  Talk talk_;
  std::string path_;

  Stage stage_ = Stage::greeting;
  std::optional<Error> refusal_;
  std::uint32_t connected_ = 0;  // Lanes.
  int tries_ = 0;                // Of the next lane.

  LazyMemory memory_;                     // All inboxes, then all copies of the peer's.
  std::vector<Owned<ibv_mr>> regions_;    // Of memory_, by rail.
  std::vector<Completions> completions_;  // By rail; before the queues, which use them.
  std::unique_ptr<Lane[]> lane_states_;
  std::span<Lane> lanes_;
  std::uint64_t dirty_ = 0;  // Lanes whose `freed` the peer was not told.

  std::optional<Clock::time_point> ending_since_;
  std::string reason_;
  std::optional<Farewell> farewell_;
  bool broken_ = false;
  std::string failure_;
};

}  // namespace accl::verbs
