// channel.h - one peer over UCX: joining it, sending to it, and noticing that it leaves or dies.
// A channel belongs to its hub and lives as long as UCX may touch its memory, which is longer than
// the Endpoint that stands for it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "accl/base/error.h"
#include "accl/base/fd.h"
#include "transport/ucx/fabric.h"
#include "transport/ucx/inbox.h"

namespace accl::ucx {

class Channel {
 public:
  // Greets the peer over the meeting socket. `number` is this channel's, unique in its hub.
  Channel(Fabric& fabric, const Geometry& geometry, std::uint32_t number, Rank peer, Fd meeting);
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  ~Channel() = default;

  // --- Joining ---------------------------------------------------------------------------------

  // Goes on as far as it can without waiting.
  void step_join();
  bool is_joined() const { return stage_ == Stage::joined; }
  // Why it never will be.
  const std::optional<Error>& refusal() const { return refusal_; }

  // --- Carrying: see Endpoint ------------------------------------------------------------------

  LaneCounters counters(std::uint32_t lane) const;
  bool put(std::uint32_t lane, const Parcel& parcel);
  void release(std::uint32_t lane, std::uint32_t position);
  Inbox& inbox() { return inbox_; }
  const Inbox& inbox() const { return inbox_; }

  // UCX brought a note for this channel; `data` is its payload, or UCX's name for a payload that is
  // still at the peer. Returns what UCX wants to hear.
  ucs_status_t take(const Note& note, void* data, std::size_t bytes, bool is_at_peer);

  void poll();
  void tell_releases();

  // --- The end ---------------------------------------------------------------------------------

  int meeting() const { return meeting_.get(); }
  void close_meeting() { meeting_.reset(); }
  void read_meeting();  // Takes what the peer says there, and notices that it hung up.
  bool is_ending() const { return ending_since_.has_value() && !broken_; }
  bool broken() const { return broken_; }
  const std::string& failure() const { return failure_; }

  // Sees the last messages off and closes, at the latest at the deadline.
  void leave(const Deadline& deadline);

 private:
  enum class Stage : std::uint8_t { greeting, address, connecting, joined, left };

  struct Send {
    Channel* channel = nullptr;
    Note note{};  // UCX reads it until the operation ends.
    bool is_busy = false;
  };
  struct Receipt {
    Channel* channel = nullptr;
    Note note{};
    bool is_busy = false;
  };
  static constexpr std::uint32_t sends_per_lane = 32;

  struct alignas(64) Lane {
    std::atomic<std::uint32_t> released{0};
    std::atomic<std::uint32_t> sent{0};
    std::uint32_t put_until = 0;
    std::uint32_t first_send = 0, next_send = 0;  // They run on, and are masked on use.
    std::array<Send, sends_per_lane> sends{};
    std::uint32_t freed = 0, told = 0;  // Our own last release, and what the peer heard of it.
    Send release{};
    std::array<Receipt, sends_per_lane> receipts{};
  };

  void refuse(ErrorKind kind, const std::string& text);
  void say(std::span<const std::byte> words);
  void take_words();
  void hang_up(int error);
  void take_greeting();
  void connect();
  void take_farewell();
  void get_ready();

  std::span<const std::byte> pack(std::uint32_t lane, const Parcel& parcel);
  void post(Send& send, std::span<const std::byte> payload);
  void flush();
  void collect_sent(Lane& lane);
  void tell_release(std::uint32_t lane);
  bool take_release(Lane& lane, std::uint32_t position);
  ucs_status_t fetch(const Note& note, std::byte* place, void* data);

  void begin_end(const char* reason);  // A text that lasts.
  void conclude();
  bool is_all_read() const;
  bool has_all_of(const Farewell& farewell) const;
  void close(const Deadline& deadline);
  void settle(const Deadline& deadline, bool is_closing);

  static void on_sent(void* request, ucs_status_t status, void* user_data);
  static void on_flushed(void* request, ucs_status_t status, void* user_data);
  static void on_closed(void* request, ucs_status_t status, void* user_data);
  static void on_fetched(void* request, ucs_status_t status, std::size_t bytes, void* user_data);
  static void on_error(void* user_data, ucp_ep_h endpoint, ucs_status_t status);
  void ended(void* request);

  Fabric& fabric_;
  const Geometry geometry_;
  const std::uint32_t number_;
  const Rank peer_;
  Fd meeting_;
  ucp_ep_h endpoint_ = nullptr;
  std::uint32_t theirs_ = 0;  // The peer's number of this channel.

  Stage stage_ = Stage::greeting;
  std::optional<Error> refusal_;
  std::vector<std::byte> words_;  // Of the meeting socket: what comes next, and how much is here.
  std::size_t have_ = 0;
  bool hello_came_ = false, is_flushed_ = false, is_ready_ = false, peer_is_ready_ = false;

  std::unique_ptr<Lane[]> lane_states_;
  std::span<Lane> lanes_;
  Send hello_{};
  Inbox inbox_;
  LazyMemory packed_;            // A message of several pieces, at its place in the ring.
  std::uint64_t dirty_ = 0;      // Lanes whose `freed` the peer was not told.
  std::uint32_t put_bytes_ = 0;  // Since the last poll().
  std::uint32_t under_way_ = 0;

  std::optional<Clock::time_point> ending_since_;
  const char* reason_ = nullptr;  // Words are made from it when it is over: they allocate.
  std::optional<Farewell> farewell_;
  bool broken_ = false;
  std::string failure_;
};

}  // namespace accl::ucx
