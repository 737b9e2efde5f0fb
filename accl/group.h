// group.h - the communicator itself: some ranks of a session, their connections, and the calls they
// run one after the other.
//
// Threads. Whoever runs or waits for a call holds mutex_ and drives the executor; a progress thread
// drives started calls while nobody waits. Abort and the watch's verdict reach a driver through
// watch_, which it looks at while it waits.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "accl/communicator.h"
#include "accl/connections.h"
#include "accl/executor.h"
#include "accl/heap.h"
#include "accl/idle.h"
#include "accl/routes.h"

namespace accl {

class Group;

// How memory that a user registered finds the group, which may be gone by then.
struct Lifeline {
  std::mutex mutex;  // Comes before the group's.
  Group* group = nullptr;
};

// A started call that may still run.
struct Pending {
  Call call;
  std::vector<std::size_t> lists;  // Where alltoallv's counts and offsets are kept.
  bool is_done = false;
  std::optional<Error> error;
};

class Group final : public Communicator {
 public:
  // Throws Error as Connections does, and for an algorithm that no collective has.
  Group(std::shared_ptr<Session> session, std::vector<Rank> ranks, std::uint64_t topic,
        const CommunicatorOptions& options);
  ~Group() override;

  Rank rank() const override { return self_; }
  std::uint32_t size() const override { return static_cast<std::uint32_t>(ranks_.size()); }
  void run(const Call& call) override;
  std::unique_ptr<StartedCall> start(const Call& call) override;
  std::unique_ptr<RegisteredMemory> add(std::span<std::byte> memory) override;
  std::unique_ptr<Communicator> split(int color, int key) override;
  std::unique_ptr<Communicator> counting(std::shared_ptr<TransportCounters> counters) override;
  void abort() override { watch_->abort(); }
  std::optional<Error> failure() const override {
    return watch_->failed() ? std::optional(watch_->verdict()) : std::nullopt;
  }
  std::string algorithm_for(const Call& call) const override;
  std::string transports() const override { return connections_.names(); }
  std::string expected_transport() const override { return expected_transport_; }
  const std::shared_ptr<Session>& session() const override { return session_; }

  // For StartedCall: drives pending calls until this one is done, or, where it may not wait, as far
  // as they go now. True when it is done. Throws its Error.
  bool finish(Pending& pending, bool may_wait);

  // For RegisteredMemory (registering.cc), by its number.
  void drop(std::uint64_t number);

 private:
  using Lock = std::unique_lock<std::mutex>;

  Lock enter();
  void run_now(const Call& call);
  void begin(const Call& call);
  void bind_and_begin(const Call& call);
  void begin_straight(const Call& call, Straight& straight);
  void open(Route& route);
  Error settle(const Error& error);
  Error verdict_for(const Error& error);
  void end();
  void drive();
  bool drive_some(bool has_news = true);
  void publish(const Call& call, const Route& route);

  Binding bind(const Call& call, Route& route);
  void lay_out(const Call& call, const Route& route, Binding& binding);
  void bind_memory(const Call& call, Binding& binding);
  void bind_arithmetic(const Call& call, Binding& binding);
  UserBuffer user_buffer(std::byte* base, const void* memory);
  const Region* know(const std::shared_ptr<const HeapBlock>& block);
  std::uint64_t shape_of(const Call& call, const Route& route) const;
  std::uint32_t tag_of(const Call& call, std::uint64_t shape) const;

  // Pending calls (pending.cc).
  void begin_next();
  void drive_pending();
  bool step_pending();
  bool wait_pending();
  void end_next(std::optional<Error> error);
  void serve();
  void ensure_server();
  bool look_after();

  std::shared_ptr<Session> session_;
  const std::vector<Rank> ranks_;
  const std::uint64_t topic_;
  const CommunicatorOptions options_;
  const Rank self_;
  std::unique_ptr<Watch> watch_;
  // accl_alloc memory that calls were made with. Kept alive until the devices forgot it, and until
  // the connections have ended, which may have to send it again.
  struct KnownBlock {
    std::shared_ptr<const HeapBlock> block;
    std::unique_ptr<Region> shared;   // With ranks of this host; null: not.
    std::unique_ptr<Region> network;  // Known to the network's devices; null: not.
    bool was_offered = false;         // To the network.
  };
  std::map<std::uint64_t, KnownBlock> blocks_;          // By cookie.
  std::vector<std::shared_ptr<const HeapBlock>> held_;  // By the call in flight.
  // What the user registered.
  struct Registered {
    std::span<std::byte> memory;
    std::shared_ptr<const HeapBlock> block;  // Where it is of accl_alloc: stays mapped.
    std::unique_ptr<Region> network;         // Null: the transport has no use for it.
  };
  std::map<std::uint64_t, Registered> registered_;
  std::uint64_t registrations_ = 0;  // So far: their numbers.
  Connections connections_;
  const std::string expected_transport_;
  Routes routes_;
  Executor executor_;
  Idle idle_;

  std::mutex mutex_;
  std::uint64_t calls_ = 0;      // Collectives begun.
  bool has_run_ = false;         // Any call, since connections were looked after.
  std::uint32_t splits_ = 0;     // And communicators that count.
  std::optional<Error> failed_;  // Given by every call from now on.
  Route* current_ = nullptr;     // Of the call in the executor.
  Straights straights_;
  Call bound_call_;  // What the executor is bound to, so that calls in a loop are cheap.
  std::uint64_t bound_shape_ = 0;
  bool is_bound_ = false;
  std::uint8_t barrier_bytes_[2] = {0, 0};

  std::deque<std::shared_ptr<Pending>> pending_;
  bool is_begun_ = false;        // The front of pending_ is in the executor.
  std::atomic<int> waiters_{0};  // The progress thread steps back for them.
  std::condition_variable wake_;
  bool is_stopping_ = false;
  std::thread server_;  // Started by the first start().
  const std::shared_ptr<Lifeline> lifeline_ = std::make_shared<Lifeline>();
};

}  // namespace accl
