// watch.h - who is to blame. One Watch per communicator; the session's thread answers for it even
// while the thread that runs a collective is busy or stuck.
//
// How a verdict is found:
//   - A process that dies closes its tree sockets (and its pidfd fires): its tree neighbours name
//     it and flood the verdict, round the hole too (they dial the dead rank's other neighbours).
//   - A wait that lasts longer than the time-out starts an inquiry: every session thread tells what
//     its rank does ("in call q, waiting for rank p") and who of its neighbours does not answer
//     (a stopped process), and on which of its connections what it sent is not acknowledged. Rank
//     0 of the session, or the lowest that answers, judges: a rank that does not answer; else a
//     connection that carries nothing; else a rank that has not entered the call the others wait
//     in; else the end of the chain of waiting. Its verdict is flooded.
//   - Ranks whose calls differ (count, type, algorithm, ...) are found by the same inquiry.
// The first verdict sticks, and is the same on every rank.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "accl/base/error.h"
#include "accl/base/ids.h"

namespace accl {

// What a rank does in a communicator, kept where the session's thread can read it at any time. The
// running thread writes with relaxed stores: nothing here may cost it more than that. `call` is
// written last (release), so a reader that sees the same number before and after has a whole
// picture.
struct CallBoard {
  std::atomic<std::uint64_t> call{0};       // Number of the call, from 1; 0 before the first.
  std::atomic<std::uint64_t> finished{0};   // Number of the last call that returned.
  std::atomic<std::uint32_t> collective{};  // Of the call, all by their enum's number.
  std::atomic<std::uint32_t> type{};
  std::atomic<std::uint32_t> op{};
  std::atomic<std::uint32_t> root{};
  std::atomic<std::uint32_t> algorithm{};  // Row of the catalog.
  std::atomic<std::uint64_t> count{};
  std::atomic<std::int32_t> waiting_for{-1};  // Rank in the communicator; -1: for nobody.
};

// A connection of ours that carries nothing, though nobody has broken it.
struct DeadPath {
  Rank peer{};       // In the communicator.
  std::string text;  // Where it runs and what is known of it.
};

class Watch {
 public:
  virtual ~Watch() = default;

  virtual CallBoard& board() = 0;

  // True once there is a verdict on this communicator, which then can be read; one load.
  bool failed() const { return failed_.load(std::memory_order_acquire); }

  // Who knows our connections; the session's thread asks when the ranks look into a wait, until
  // this is called with an empty function, which waits for an answer under way.
  using Witness = std::function<std::vector<DeadPath>()>;
  virtual void set_witness(Witness witness) = 0;

  // The verdict, as every rank gives it. Only after failed().
  virtual Error verdict() const = 0;

  // Readable once failed(): for a thread that sleeps in poll or epoll.
  virtual int event_fd() const = 0;

  // Each of these returns at once; failed() follows within about a second, on every rank.
  virtual void report_timeout(Rank waiting_for) = 0;  // Our wait was too long.
  virtual void report_mismatch(Rank peer) = 0;        // Its message is not of our call.
  virtual void report_broken(Rank peer, const std::string& reason) = 0;  // Its connection broke.
  virtual void give_up(
      const std::string& reason) = 0;  // We cannot go on, and others cannot see why.
  virtual void abort() = 0;            // The user asked for it.

 protected:
  std::atomic<bool> failed_{false};
};

}  // namespace accl
