// fake_verbs.h - a libibverbs whose devices are memory of this process: queues of one process reach
// each other, at once and in order. It is stricter than hardware about the caller's duties (queues
// that overflow, memory that is not registered, objects that outlive what they need), and does what
// it is told: fail a call, break a queue, raise an event. Loaded by path, as the real one is.
//
// These are its controls, to be looked up in the loaded library.
#pragma once

#include <cstddef>
#include <cstdint>

// Hears the name of a call that registers or ends memory, before it is done.
using FakeRecorder = void(const char* call);
// What a kernel module knows of memory without pages: where the bytes of an address are; null: it
// is not of its kind.
using FakePeerMemory = std::byte*(const void* address, std::size_t bytes);

extern "C" {

// Of everything the library made and nobody ended.
std::uint32_t fake_verbs_living();
// The first duty a caller neglected, in words; empty: none. reset() forgets it and all counters.
const char* fake_verbs_violation();
void fake_verbs_reset();

// How many devices there are, for lists made from now on (1).
void fake_verbs_set_devices(std::uint32_t count);
// And how many ports each has (1).
void fake_verbs_set_ports(std::uint32_t count);

// The k-th call (from 1) that can fail does, with this errno; 0: none. Counts from now on.
void fake_verbs_fail_call(std::uint32_t k, int error);
// Calls that could have failed since then.
std::uint32_t fake_verbs_calls();

// Of devices opened from now on: 0: they take requests by ibv_wr_*; -1: they do not know
// ibv_create_qp_ex; else the errno it gives. What reset() makes it: -1 where ACCL_FAKE_VERBS_POST
// is "classic", else 0.
void fake_verbs_set_extended(int error);

// A send queue that is told to drain (SQD) has done so after so many looks (0); -1: the devices do
// not know that state.
void fake_verbs_set_drain(int looks);
// Queue pairs that are in that state now.
std::uint32_t fake_verbs_draining();
// Whether the devices are of mlx5, and give a queue pair that sends another source port: 0: no (0);
// 1: yes; -1: yes, but they refuse (EINVAL).
void fake_verbs_set_mlx5(int kind);
// Requests that left with this label.
std::uint64_t fake_verbs_sent_by_label(std::uint32_t label);

// The k-th request posted from now on ends with this ibv_wc_status, its queue in error; 0: none.
// Where `is_delivered` is not 0 the peer gets it all the same, as when an acknowledgement is lost.
void fake_verbs_break_request(std::uint32_t k, int status, int is_delivered);
// What is sent by this device, or to it, is not acknowledged any more (0), or is again (1). Where
// `tells` is not 0, its port says so, too, by its state and by an event.
void fake_verbs_set_link(std::uint32_t device, int is_up, int tells);
// What is sent from now on is under way (1), or only what is sent behind such a request over the
// same queue (2), until all may arrive (0), in their order.
void fake_verbs_hold(int which);
// From now on the address of a peer is looked for so long, in vain: ETIMEDOUT; 0: it is known.
void fake_verbs_look_for(std::uint32_t ms);
// An asynchronous event of the first device, wherever it is open: an ibv_event_type.
void fake_verbs_raise(int event);

struct FakeVerbsCounts {
  std::uint64_t doorbells;    // Calls of post_send and of wr_complete,
  std::uint64_t extended;     // and of wr_complete alone.
  std::uint64_t requests;     // That they brought.
  std::uint64_t inlined;      // Of those: whose bytes went along,
  std::uint64_t gathered;     // and whose bytes were of more places than one.
  std::uint64_t completions;  // Polled, of sends.
  std::uint64_t receives;     // Calls of post_recv.
  std::uint64_t reads;        // Done.
  std::uint64_t unannounced;  // Writes of which the peer hears nothing.
};
FakeVerbsCounts fake_verbs_counts();

// --- Memory: it is seen as it was when it was registered, even if others lie there now ----------

// 0: descriptors are taken (0); else the errno that every try gets, as from kernels without.
void fake_verbs_set_dma_buf(int error);
void fake_verbs_set_peer_memory(FakePeerMemory* resolve);
// From now on nobody may ask for relaxed ordering: EINVAL.
void fake_verbs_refuse_relaxed();
void fake_verbs_set_recorder(FakeRecorder* recorder);

struct FakeVerbsRegion {
  std::uint64_t address;
  std::uint64_t bytes;
  std::uint32_t key;
  int access;
  bool is_dma_buf;
};
// Those that live: fills up to `most`, gives how many there are.
std::uint32_t fake_verbs_regions(FakeVerbsRegion* regions, std::uint32_t most);
// What the device reads; false where the key does not hold these bytes.
bool fake_verbs_read(std::uint32_t key, std::uint64_t address, void* to, std::uint64_t bytes);

// Flow labels of queues that were connected, in order: fills up to `most`, gives how many there
// are.
std::uint32_t fake_verbs_labels(std::uint32_t* labels, std::uint32_t most);
}
