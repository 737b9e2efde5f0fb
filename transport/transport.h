// transport.h - the one way bytes travel between two ranks. An Endpoint joins this rank with one
// peer by a few lanes; a lane is an ordered stream of messages in each direction, and lanes are
// independent of each other.
//
// Ring. Each direction of a lane has a ring of Geometry::ring_bytes. The sender gives every message
// a place in it (offset) and a position: ring units (64 bytes) used since the lane opened, wrapping
// at 2^32. The receiver computes the same places on its own, so positions are all that is
// exchanged. The sender never overwrites a place before the receiver released it; keeping that
// promise is the caller's work (accl/lane.h), the transport only carries `released` back.
//
// Two kinds of transport:
//   pull  outbox(lane) is memory of ours that the peer has mapped. The caller writes the message
//         there itself; put() only tells the peer. (shm)
//   push  outbox(lane) is null. put() carries head and pieces to the peer's inbox. (tcp, ucx,
//   verbs)
// Either way the message then lies at inbox(lane) + offset at the receiver: a Head, and the payload
// payload_offset(bytes) behind it. Tiny messages of a pull transport may go by Cells instead.
//
// Notes are memory, not events: what has arrived, what the peer released and what has left are
// counters that the caller reads with acquire loads; poll() drives whatever must be driven for them
// to move. No call blocks or allocates after finish(), but for view()'s first look at a region.
// One thread at a time drives a Transport and its Endpoints.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "accl/base/clock.h"
#include "accl/base/fd.h"
#include "accl/base/ids.h"
#include "accl/base/memory.h"

namespace accl {

constexpr std::uint32_t ring_unit_bytes = 64;

// Precedes every message in the ring; filled by the sender, checked by the receiver.
struct Head {
  std::uint32_t stamp = 0;  // In cells only, see there; by the ring it need not travel.
  std::uint32_t tag = 0;    // The caller's: which call this belongs to.
  std::uint32_t bytes = 0;  // Of payload.
  std::uint32_t flags = 0;  // The caller's.
};
static_assert(sizeof(Head) == 16);

// Tiny payloads follow the head at once; others start on a cache line of their own.
constexpr std::uint32_t tiny_bytes = 2 * ring_unit_bytes - sizeof(Head);
constexpr std::uint32_t payload_offset(std::uint32_t bytes) {
  return bytes <= tiny_bytes ? sizeof(Head) : ring_unit_bytes;
}

// What a message takes of the ring.
constexpr std::uint32_t message_units(std::uint32_t bytes) {
  return static_cast<std::uint32_t>(
      (std::uint64_t{payload_offset(bytes)} + bytes + ring_unit_bytes - 1) / ring_unit_bytes);
}

// A place for one tiny message that says itself that it has arrived, so that one cache line moves
// between two cores where head and counter would be two.
struct alignas(2 * ring_unit_bytes) Cell {
  Head head;  // Its stamp is written last: the number of the message among those sent by cell.
  std::array<std::byte, tiny_bytes> payload;
};

// Pull transports may have a row of cells beside the ring of a lane, used in turn: message number k
// (from 1) of those sent by cell lies in cell k % cell_count. Who sends decides which way a tiny
// message goes; who receives looks at both.
constexpr std::uint32_t cell_count = 32;
struct Cells {
  Cell* out = nullptr;                                // Null: we send by the ring only.
  const Cell* in = nullptr;                           // Null: nothing ever comes by cell.
  const std::atomic<std::uint32_t>* freed = nullptr;  // Of ours, the peer has read this many.
  std::atomic<std::uint32_t>* read = nullptr;         // Ours to write: so many we have read.
};

// The same at both ends of every endpoint of a transport.
struct Geometry {
  std::uint32_t lanes = 4;
  std::uint32_t ring_bytes = 1 << 20;  // Per lane and direction; a multiple of 4096.
};

constexpr std::uint32_t most_expected = 8;  // Messages of a lane that a caller may expect.
constexpr std::size_t max_pieces = 256;     // Of one Parcel.

struct Parcel {
  Head head{};
  std::uint32_t offset = 0;                              // In the ring, bytes, of the head.
  std::uint32_t until = 0;                               // The position just behind this message.
  std::span<const std::span<const std::byte>> pieces{};  // Payload in order; head.bytes in all.
  std::optional<std::uint32_t> freed{};                  // As release(), where tells_along().
};

// Names registered memory to a peer, and travels inside messages.
struct RegionKey {
  std::array<std::uint64_t, 4> words{};
};

// Memory that a transport knows: so that peers may look at it, where Endpoint::view gives it, or so
// that a device reads and writes it in place. Destruction ends that; it comes before the memory is
// unmapped or freed, and after all that uses the memory is done.
class Region {
 public:
  virtual ~Region() = default;
  virtual RegionKey key() const = 0;
};

// Counters of one lane. Read with acquire; all are positions as above.
struct LaneCounters {
  const std::atomic<std::uint32_t>* arrived = nullptr;   // Messages until here lie in our inbox.
  const std::atomic<std::uint32_t>* released = nullptr;  // The peer is done with ours until here.
  const std::atomic<std::uint32_t>* sent = nullptr;      // `pieces` until here may change (push).
};

// A connection on which nothing that we send is acknowledged any more.
struct Stall {
  std::uint32_t silent_ms = 0;        // Since anything was.
  std::uint32_t retransmissions = 0;  // In vain, one after the other; 0: nobody tells.
};

class Endpoint {
 public:
  virtual ~Endpoint() = default;

  // Second half of opening (Transport::open is the first): waits for the peer's half. Throws Error
  // (remote or timeout) that says what did not come.
  virtual void finish(const Deadline& deadline) = 0;

  virtual LaneCounters counters(std::uint32_t lane) const = 0;
  virtual std::byte* outbox(std::uint32_t lane) = 0;
  virtual const std::byte* inbox(std::uint32_t lane) const = 0;

  virtual Cells cells([[maybe_unused]] std::uint32_t lane) { return {}; }
  // Follows every change of a stamp or of Cells::read: wakes the peer if it sleeps.
  virtual void changed_cell() {}

  // Publishes a message. False, and nothing done, while the queue to the peer is full. Push: the
  // pieces must stay unchanged until `sent` reaches parcel.until.
  [[nodiscard]] virtual bool put(std::uint32_t lane, const Parcel& parcel) = 0;

  // Tells the peer that our inbox is free until this position.
  virtual void release(std::uint32_t lane, std::uint32_t position) = 0;
  // Whether put() tells the same, by Parcel::freed, at no cost.
  virtual bool tells_along() const { return false; }

  // Push transports may let the payload of a message to come on a lane (the one that ends at
  // `until`) land in `target` instead of the inbox. Asked in the order of the messages. False where
  // it is too late or not offered, or too many are asked for. After a true answer `target` is the
  // transport's until the message arrived, and `took` says from then on, until it is released,
  // whether the payload is in `target`. No more than most_expected wait so on a lane at a time.
  virtual bool expect(std::uint32_t lane, std::uint32_t until, std::span<std::byte> target) = 0;
  virtual bool took(std::uint32_t lane, std::uint32_t until) const = 0;

  // For a caller that gives up before all that it expects came: nothing lands in any target any
  // more when this returns. The connection may end by it.
  virtual void withdraw() {}

  // Plain loads from the peer's memory: its registered bytes [offset, offset+bytes), or null where
  // they cannot be mapped here.
  virtual const std::byte* view(const RegionKey& key, std::uint64_t offset,
                                std::uint64_t bytes) = 0;

  // Whether the peer can look at our registered memory in the same way. May turn true only after
  // finish(), when the peer has tried.
  virtual bool is_viewable() const { return false; }

  // The way to the peer in words, as "10.0.1.2:41234 on eth0 to 10.0.3.2:35555"; empty where there
  // is nothing to say of it.
  virtual std::string path() const { return {}; }

  // Whether this is such a one, as far as the transport can tell. The one member function, with
  // path(), that any thread may call at any time.
  virtual std::optional<Stall> stall() const { return std::nullopt; }

  // Why this endpoint carries no more, in words; empty while it works.
  virtual std::string failure() const = 0;
  virtual bool broken() const = 0;
};

class Transport {
 public:
  virtual ~Transport() = default;

  virtual const char* name() const = 0;

  // First half of joining a peer: `meeting` is a connected stream socket to it (of unix domain
  // where both are on one host), to keep or to swap addresses over. Writes a greeting and returns;
  // finish() reads the peer's. So a rank opens all its peers, then finishes all, and no order of
  // ranks can deadlock.
  virtual std::unique_ptr<Endpoint> open(Rank peer, Fd meeting) = 0;

  // Null where the transport has no use for such memory. That there is a Region does not say that
  // peers can look at it: Endpoint::view does. Throws Error: system where a device or a limit of
  // this machine refuses the memory, invalid_argument where it is not what `memory` says.
  virtual std::unique_ptr<Region> add(const Memory& memory) = 0;

  // Drives what must be driven. False: nothing that the caller could see has changed since the last
  // poll, so what did not go then does not go now either.
  virtual bool poll() = 0;

  // Sleeping: after arm() gives true, the caller looks at its counters once more, then may sleep:
  // event_fd() becomes readable when anything arrives or can go on after that look. False:
  // something came meanwhile, look again first. disarm() follows every arm(); after it the next
  // poll() looks at everything, also what is rare, and for that it may come alone.
  virtual int event_fd() const = 0;
  [[nodiscard]] virtual bool arm() = 0;
  virtual void disarm() = 0;
};

}  // namespace accl
