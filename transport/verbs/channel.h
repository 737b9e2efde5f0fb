// channel.h - one peer over RDMA: a queue pair for every lane, a ring that the peer writes into,
// and a copy of ours of each ring of the peer, from which the device reads.
//
// A message is one write, head and payload together, to its place in the peer's ring; its immediate
// value is the position behind it. Messages of a lane cannot overtake each other, so that position
// is all that the receiver must know; what the sender is done with travels along. What is put is
// copied to the same place in our copy of the ring, which is free exactly as long as the peer's;
// but a large payload in registered memory is lent: the device reads it where it lies, and the
// sender may change it once that was acknowledged.
//
// A receiver that expects a large payload in registered memory grants the sender a place there
// (grant.h). A sender that finds the grant in time puts the payload in that place and then the head
// into the ring; who does not puts both into the ring. Either way the message takes the same room.
//
// When a queue breaks, the peers replace all queues of the channel, on other ports where theirs do
// not work any more: each stops its own, so that nothing can arrive late, tells the other the last
// message that did arrive, and sends again from its copies what did not (restarting.cc). A queue
// that works can be moved to another path (moving.cc).
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "accl/base/error.h"
#include "transport/lazy_memory.h"
#include "transport/talk.h"
#include "transport/verbs/grant.h"
#include "transport/verbs/memory.h"
#include "transport/verbs/queue.h"
#include "transport/verbs/rail.h"

namespace accl::verbs {

// From here on payloads in registered memory are sent from where they lie, and received where they
// are expected. That spares a copy and costs an acknowledgement, for which the end of a call waits,
// or a grant: about what a core copies in some microseconds.
constexpr std::uint32_t least_lent_bytes = 32 << 10;
constexpr std::uint32_t large_payload_offset = payload_offset(least_lent_bytes);

class Channel {
 public:
  // Greets the peer over the meeting socket. The lanes take the rails in turn; they and the
  // registry outlive the channel, which without one takes all it sends for memory of the host. All
  // lanes are pinned to `network_path`, where one is given and ACCL_IB_PATHS has paths to this
  // peer. Throws Error (system) where a device has no more queues or memory, or none works.
  Channel(Rails& rails, const Geometry& geometry, Rank peer, Fd meeting,
          Registry* registry = nullptr, std::optional<std::uint32_t> network_path = std::nullopt);
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  ~Channel() = default;

  // --- Joining ---------------------------------------------------------------------------------

  // Goes on as far as it can without waiting.
  void step_join();
  bool is_joined() const { return stage_ >= Stage::joined && stage_ <= Stage::restarting; }
  // Why it never will be.
  const std::optional<Error>& refusal() const { return refusal_; }
  // "mlx5_0 port 1, GID 3 (10.0.0.1) to 10.0.0.2": of the first lane. Any thread may ask.
  std::string path() const;

  // --- Carrying: see Endpoint ------------------------------------------------------------------

  LaneCounters counters(std::uint32_t lane) const;
  const std::byte* inbox(std::uint32_t lane) const;
  bool put(std::uint32_t lane, const Parcel& parcel);
  void release(std::uint32_t lane, std::uint32_t position);
  bool tells_along() const { return immediates_.tells_freed(); }
  bool expect(std::uint32_t lane, std::uint32_t until, std::span<std::byte> target);
  bool took(std::uint32_t lane, std::uint32_t until) const;
  void withdraw();

  // Takes completions, and tells releases. True where anything came.
  bool poll();
  // What put() refuses it goes on refusing until poll() is true.
  bool is_calm() const { return is_open() && !is_behind_ && !move_ && !wants_move_; }
  // The device wakes us for what comes from here on. False: it cannot, and poll() must go on.
  bool arm();

  // The paths of the rails are others now: lanes whose labels change by that go over to them, each
  // time that poll() is called a bit further. Meanwhile put() refuses.
  void move();

  // The owner takes this memory away. What was lent of it and may have to be sent again is copied;
  // a request that still waits for it ends the channel.
  void give_back(std::span<const std::byte> memory);

  // --- Silence (silence.cc) --------------------------------------------------------------------

  // Looks at what was acknowledged; now and then, after poll(), so that what came is no silence.
  void note_silence(Clock::time_point now);
  // Any thread may ask, for what the last look saw.
  std::optional<Stall> stall() const;

  // --- The end ---------------------------------------------------------------------------------

  int meeting() const { return talk_.file(); }
  void close_meeting() { talk_.close(); }
  void read_meeting();
  void lose_rail(std::uint32_t rail, const std::string& why);
  bool is_ending() const { return ending_since_.has_value() && !broken_; }
  bool broken() const { return broken_; }
  const std::string& failure() const { return failure_; }

  // Sees the last messages off and closes, at the latest at the deadline.
  void leave(const Deadline& deadline);

 private:
  enum class Stage : std::uint8_t { greeting, connecting, joined, moving, restarting, left };

  // A message that the peer has not released.
  struct Sent {
    std::uint32_t until = 0;
    std::uint32_t offset = 0, bytes = 0;   // In our copy of the ring, from the head on.
    std::uint32_t number = 0;              // Of its ticket.
    std::span<const std::byte> lent = {};  // What follows those bytes; empty: nothing.
    bool is_gone = false;                  // It was lent, and may have changed since.
    bool is_placed = false;                // The payload goes to `place` of the peer, under `key`.
    std::uint32_t key = 0;
    std::uint64_t place = 0;
  };

  struct alignas(64) Lane {
    std::atomic<std::uint32_t> arrived{0}, released{0}, sent{0};
    std::uint32_t put_until = 0;
    std::uint32_t freed = 0, told = 0;  // Our own last release, and what the peer heard of it.
    std::uint64_t peer_inbox = 0, peer_mailbox = 0;
    std::uint32_t peer_key = 0;
    std::uint32_t memory_key = 0;  // Of `memory_`, on this lane's rail.
    std::size_t ring_at = 0;       // Of our inbox, in `memory_`; the copy is behind all of those.
    Mailbox mailbox;               // What the peer grants us,
    Granted granted;               // and what we granted.
    std::optional<Queue> queue;
    std::uint32_t rail = 0;
    std::uint8_t generation = 0;                           // Of the queue.
    bool has_last_send = false, has_last_receive = false;  // Of a queue that was stopped.
    bool is_shut = false;  // A message could not be taken, and who follows would count for it.
    // Messages the peer has not released: as many as it has receives for.
    std::array<Sent, message_window> window{};
    std::uint32_t window_first = 0, window_next = 0;  // They run on, and are masked on use.
    std::uint32_t window_again = 0;                   // From here on they must be posted again.
    std::uint32_t window_lent = 0;                    // Up to here nothing is lent any more.
    // When the last look found everything acknowledged, or more than the look before; and what it
    // went by.
    Clock::time_point silent_since{};
    std::uint32_t noted_retired = 0;
    std::uint8_t noted_generation = 0;

    Sent& at(std::uint32_t index) { return window[index % message_window]; }
  };

  // What the channel has on a rail.
  struct Footing {
    Completions completions;
    Owned<ibv_mr> region{nullptr, nullptr};  // Of memory_.
    std::uint32_t lanes = 0;                 // That are on it.
  };

  struct Restart {
    enum class Phase : std::uint8_t { draining, waiting, connected };
    std::string reason;
    Phase phase = Phase::draining;
    Clock::time_point quiet_since{};
    std::optional<Note> theirs{};
    bool is_peer_ready = false;
    bool is_move = false;        // Nothing failed: somebody wants other paths.
    bool is_of_request = false;  // One that was not answered, for which a peer may be the reason.
    bool has_shifted = false;    // Our labels.
    std::string moved_from{};    // Our labels then; empty: we did not.

    // It goes on by itself, not only when the peer says something.
    bool is_busy() const {
      return phase == Phase::draining || (phase == Phase::waiting && theirs.has_value());
    }
  };

  static constexpr const char* peer_moves = "it moves to other paths";

  // Queues that do not send until all they sent is acknowledged.
  struct Move {
    std::array<std::uint32_t, max_lanes> labels{};
    std::string from;  // The labels before.
    Clock::time_point since{}, next_look{};
    int looks = 0;
  };

  const Port& port_of(std::uint32_t lane) const { return rails_[lanes_[lane].rail].port(); }
  std::byte* outbox(std::uint32_t lane);

  void stand_on(std::uint32_t lane, std::uint32_t rail);
  LaneAddress address_of(std::uint32_t lane) const;
  void note_path(const LaneAddress& theirs);
  void refuse(ErrorKind kind, const std::string& text);
  void say_opening();
  bool take_opening();
  bool connect_lanes(std::span<const LaneAddress> theirs, std::uint32_t most);
  void take_ready();
  Note note_of(NoteKind kind) const;
  void take_note(const Note& note);
  void take_farewell(const Note& note);
  std::uint32_t flow_label(std::uint32_t lane, const Gid& peer) const;

  bool has_window(Lane& lane);
  bool copy(std::byte* to, std::span<const std::byte> piece);
  std::uint32_t pack(std::uint32_t lane, const Parcel& parcel);
  ibv_sge own_bytes(const Lane& lane, const std::byte* at, std::uint32_t bytes) const;
  ibv_sge payload_of(Lane& lane, const Sent& message);
  const ibv_mr* device_memory(const Lane& lane, std::span<const std::byte> bytes);
  bool is_lendable(const Lane& lane, const Parcel& parcel);
  void take_back(Lane& lane);
  bool is_silent(Lane& lane, Clock::time_point now);
  void take_home(std::uint32_t lane, Sent& message);
  bool poll(Completions& completions);
  void take(const ibv_wc& done);
  int post(Lane& lane, Sent& message);
  void fail_request(const Ticket& ticket, const ibv_wc& done);
  void begin_grants(std::uint32_t lane);
  std::byte* mailbox(std::uint32_t lane) const;
  std::byte* copy_of_mailbox(std::uint32_t lane) const { return mailbox(lane) + mailbox_bytes; }
  bool is_open() const { return stage_ == Stage::joined && !broken_ && !ending_since_; }
  void take_message(Lane& lane, const Saying& saying);
  bool post_grant(std::uint32_t lane, const Grant& grant);
  bool take_payload(Lane& lane, std::uint32_t until, bool is_placed);
  void find_place(Lane& lane, const Parcel& parcel, Sent& message);
  void take_word(Lane& lane, std::uint32_t position);
  void note_post(std::uint32_t lane, int error);  // An errno of the driver, or 0.
  void note_told(std::uint32_t lane);
  void tell_releases();
  void tell_release(std::uint32_t lane, bool is_signalled);

  // A path or a port fails us: the queues are replaced, or the channel ends.
  void lose_path(const std::string& reason, bool is_of_request = false);
  void restart(std::string reason, std::uint32_t epoch, bool is_move);
  void excuse_failure();
  void step_restart(bool has_polled_some);
  bool is_drained() const;
  void renew();
  void resume();
  void find_lost(std::uint32_t lane, std::uint32_t arrived);
  void post_again();
  bool start_move();
  bool relabel_all();
  bool step_move();
  bool is_to_move(std::uint32_t lane) const;
  std::string labels() const;
  void begin_end(std::string reason);
  void conclude();
  void tell_failure();
  bool has_all_of(const Note& farewell) const;
  bool is_all_acknowledged() const;
  std::uint64_t ask_for_answers(std::uint64_t lanes);
  void settle(const Deadline& deadline);

  Rails& rails_;
  const Geometry geometry_;
  const Immediates immediates_;
  const Rank peer_;
  Registry* const registry_;
  const std::optional<std::uint32_t> network_path_;
  Talk talk_;
  mutable std::mutex path_mutex_;
  std::string path_;

  Stage stage_ = Stage::greeting;
  std::optional<Error> refusal_;
  std::uint32_t connected_ = 0;  // Lanes.
  int tries_ = 0;                // Of the next lane.

  // All inboxes, then all copies of the peer's, then every lane's mailbox and its copy of the
  // peer's.
  LazyMemory memory_;
  std::vector<std::unique_ptr<Footing>> footings_;  // By rail; before the queues, which use them.
  std::unique_ptr<Lane[]> lane_states_;
  std::span<Lane> lanes_;
  std::uint64_t dirty_ = 0;  // Lanes whose `freed` the peer was not told.
  const std::uint32_t stalled_ms_;
  std::atomic<std::uint32_t> silent_ms_{0};  // Of the last look; 0: nothing is awaited.
  Clock::time_point looked_at_{};

  std::uint32_t epoch_ = 0;
  std::optional<Restart> restart_;
  std::optional<Move> move_;
  bool wants_move_ = false;
  std::uint32_t label_shift_ = 0;  // How often a path failed.
  int restarts_in_vain_ = 0;
  std::string first_reason_;  // Of those.
  bool has_moved_ = false;    // Anything, over the present queues.
  bool is_behind_ = false;    // Messages are left to be posted again.

  std::optional<Clock::time_point> ending_since_;
  std::string reason_;
  std::optional<Note> farewell_;
  bool broken_ = false;
  std::string failure_;
};

}  // namespace accl::verbs
