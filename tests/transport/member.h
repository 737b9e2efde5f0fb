// member.h - one rank of a world, talking with all others: it sends what a script says, checks that
// what comes is what the peer's script says, and keeps every rule a caller must keep.
#pragma once

#include <deque>
#include <memory>
#include <random>
#include <vector>

#include "tests/transport/ring.h"
#include "tests/transport/world.h"

namespace accl::test {

// What travels, the same at both ends and known without talking: sizes and contents come from
// (from, to, lane, number).
struct Script {
  std::uint32_t messages = 0;        // Per lane and direction.
  std::vector<std::uint32_t> sizes;  // Taken in turn; empty: random up to largest_bytes.
  std::uint32_t largest_bytes = 0;
  bool alternates = false;  // Message i is sent when the peer's i-1 (for rank 0: i) is here.
};

enum class Idle : std::uint8_t { yield, sleep };

// One direction of one lane, as a sender or a receiver counts it.
struct Direction {
  explicit Direction(std::uint32_t ring_bytes) : ring(ring_bytes) {}
  Ring ring;
  std::uint32_t number = 0;        // Messages so far.
  std::uint32_t last_counter = 0;  // To see that counters never go back.
};

class Link {
 public:
  Link(std::unique_ptr<Endpoint> endpoint, const Geometry& geometry, std::uint32_t me,
       std::uint32_t peer);

  Endpoint& endpoint() { return *endpoint_; }
  // What is expected lands in memory that the transport knows, where it is one that pushes.
  void know_targets(Transport& transport);
  bool step(const Script& script);  // True where anything was sent or received.
  bool done(const Script& script) const;
  // All that the transport told so far, in one number that changes when any of it does.
  std::uint64_t told() const;

 private:
  struct Payload {
    std::uint32_t until = 0;
    std::vector<std::byte> bytes;
  };
  struct LaneBook {
    explicit LaneBook(std::uint32_t ring_bytes) : out(ring_bytes), in(ring_bytes) {}
    Direction out, in;
    std::uint32_t told = 0;         // Of what came, a position;
    std::uint32_t untold = 0;       // and messages since.
    std::deque<Payload> unsent;     // Push: must not change until sent.
    std::vector<std::byte> target;  // Of a ring's size; given to expect() for the next message.
    bool asked = false;             // expect() was tried for it,
    bool promised = false;          // and gave true.
  };

  bool send_next(std::uint32_t lane, const Script& script);
  bool receive_next(std::uint32_t lane, const Script& script);
  void check_message(std::uint32_t lane, const Script& script, const Place& place,
                     std::uint32_t bytes);
  void ask_for_next(std::uint32_t lane, std::uint32_t bytes);
  void drop_sent(std::uint32_t lane);
  bool put(std::uint32_t lane, const Parcel& parcel, std::vector<std::byte>& payload);
  void release(std::uint32_t lane, const Script& script);
  void note_told(std::uint32_t lane);

  Geometry geometry_;
  std::uint32_t me_, peer_;
  std::vector<LaneBook> lanes_;
  std::vector<std::unique_ptr<Region>> regions_;  // Of the targets.
  std::unique_ptr<Endpoint> endpoint_;            // It ends before what it writes to.
  std::mt19937 random_;
};

class Member {
 public:
  // Opens all peers, then finishes all.
  Member(std::unique_ptr<Transport> transport, const Geometry& geometry, std::uint32_t me,
         Meetings meetings);

  // Plays the script with every peer, to the end: all received, all sent, all released. Tries again
  // only what poll() gives a reason for.
  void play(const Script& script, Idle idle);

  Transport& transport() { return *transport_; }
  Link& link(std::size_t number) { return links_[number]; }

 private:
  bool poll();
  std::uint64_t told() const;
  bool step(const Script& script);
  bool done(const Script& script) const;
  void sleep(const Script& script);

  std::unique_ptr<Transport> transport_;
  std::vector<Link> links_;
};

// Around a transport call that may not allocate: fails the test where operator new was called by
// this thread meanwhile.
class AllocationCheck {
 public:
  AllocationCheck();
  ~AllocationCheck();
  void forgive() { forgiven_ = true; }

 private:
  std::uint64_t before_;
  bool forgiven_ = false;
};

}  // namespace accl::test
