// queue.h - the queue pair of one lane: connected, kept full of receives, and counted, so that
// nothing is ever posted into a full queue. The only part of the transport that posts.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "transport/verbs/port.h"
#include "transport/verbs/posting.h"
#include "transport/verbs/words.h"

namespace accl::verbs {

constexpr std::uint32_t send_depth = 128;
// Messages that a peer may have under way, as many releases, and those we post late.
constexpr std::uint32_t message_window = 256;
constexpr std::uint32_t receives_at_once = 32;
constexpr std::uint32_t receive_depth = 2 * message_window + 4 * receives_at_once;
constexpr std::size_t most_writes = 2;        // At a time: a payload, and what tells of it.
constexpr std::uint32_t signal_every = 16;    // Of writes that are not signalled anyway.
constexpr std::uint32_t wanted_inline = 128;  // A tiny message and its head.

// The wr_id of everything posted.
struct Ticket {
  std::uint32_t number = 0;  // Of a send: how many were posted with it.
  std::uint8_t lane = 0;
  std::uint8_t generation = 0;  // Of the lane's queue: completions can outlive it.
  bool is_last = false;         // Of a queue that was stopped: nothing follows.
  bool is_receive = false;

  std::uint64_t pack() const {
    return (std::uint64_t{is_receive} << 63) | (std::uint64_t{is_last} << 62) |
           (std::uint64_t{generation} << 40) | (std::uint64_t{lane} << 32) | number;
  }
  static Ticket unpack(std::uint64_t id) {
    return {static_cast<std::uint32_t>(id), static_cast<std::uint8_t>(id >> 32),
            static_cast<std::uint8_t>(id >> 40), (id >> 62 & 1) != 0, (id >> 63) != 0};
  }
};

class Queue {
 public:
  // Ready to be connected, with all its receives posted. Lane and generation are what its tickets
  // say. Throws Error (system).
  Queue(const Port& port, ibv_cq* completions, std::uint8_t lane, std::uint8_t generation);

  // What the peer must know; `inbox` and `key` are left to the caller.
  LaneAddress address() const;
  // Throws Error (system, remote) that names both ends and what to check; timeout where nobody told
  // the peer's address within a second, and it may be tried again.
  void connect(const LaneAddress& theirs, std::uint32_t flow_label);

  std::uint32_t longest_inline() const { return longest_inline_; }
  bool has_room(std::uint32_t sends) const { return posted_ - retired_ + sends <= send_depth; }
  std::uint32_t posted() const { return posted_; }
  bool is_idle() const { return posted_ == retired_; }
  std::uint32_t retired() const { return retired_; }
  // The device owes an answer: it was asked for one, and gives it when the peer's acknowledges.
  bool awaits_answer() const { return static_cast<std::int32_t>(signalled_ - retired_) > 0; }

  struct Write {
    std::uint64_t to = 0;  // Address of the peer, under `key`.
    std::uint32_t key = 0;
    std::optional<std::uint32_t> immediate{};  // None: the peer hears nothing of it.
    std::span<ibv_sge> from;                   // Not empty; one, if it is inline.
    bool is_inline = false;
    bool is_signalled = false;
  };
  // A send that carries nothing but its immediate value.
  struct Word {
    std::uint32_t immediate = 0;
    bool is_signalled = false;
  };
  // After has_room. The writes, at most two, in one call of the driver; or the word. Give errno.
  int post(std::span<const Write> writes);
  int post(const Word& word);

  // A ticket of ours came back: everything up to it is done.
  void retire(std::uint32_t number) { retired_ = number; }
  bool is_retired(std::uint32_t number) const {
    return static_cast<std::int32_t>(retired_ - number) >= 0;
  }

  // --- Another path. Nothing may be posted from pause() on until resume(). All give errno --------

  std::uint32_t flow_label() const { return flow_label_; }
  const Gid& peer() const { return theirs_.gid; }
  // What leaves from now on has this label, where the device can do that to a queue that sends:
  // mlx5 by its UDP source port. EOPNOTSUPP: it cannot.
  int relabel(std::uint32_t flow_label);
  // Sends nothing more. Devices need not know it (EINVAL).
  int pause();
  // 0: all that was sent is acknowledged; EAGAIN: not yet.
  int drained() const;
  // After that: sends again, with this label.
  int resume(std::uint32_t flow_label);

  // A receive was used up. Gives errno.
  int took_receive();

  // Nothing leaves or arrives any more. What did completes; behind it, where the device still
  // answers, come a send and a receive whose tickets are the last.
  void stop();

 private:
  ibv_send_wr next_request(bool is_signalled);
  void create(ibv_cq* completions);
  ibv_ah_attr path_to(const LaneAddress& theirs, std::uint32_t flow_label) const;
  void modify(ibv_qp_attr& attributes, int mask, const char* to, const LaneAddress* theirs);
  int post_receives(std::uint32_t count);

  const Port& port_;
  const Ticket ticket_;  // What all of ours have in common.
  Pair pair_;
  LaneAddress theirs_{};
  std::uint32_t flow_label_ = 0;
  std::uint32_t first_packet_ = 0;
  std::uint32_t longest_inline_ = 0;
  std::uint32_t posted_ = 0, retired_ = 0, signalled_ = 0;  // They run on.
  std::uint32_t missing_receives_ = 0;
  bool is_stopped_ = false;
};

}  // namespace accl::verbs
