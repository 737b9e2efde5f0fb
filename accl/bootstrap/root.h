// root.h - where the processes of a job meet first. A root listens, takes one request from each
// rank, checks that they fit together, sends the table to all, waits until every rank's tree
// stands, and says go. Whatever goes wrong on the way becomes one sentence that every rank gets,
// those that come too late among them.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "accl/base/error.h"
#include "accl/base/fd.h"
#include "accl/bootstrap/address.h"
#include "accl/bootstrap/frame_socket.h"
#include "accl/bootstrap/gate.h"
#include "accl/bootstrap/reactor.h"
#include "accl/bootstrap/roster.h"
#include "accl/bootstrap/unique_id.h"
#include "accl/bootstrap/wire.h"

namespace accl::bootstrap {

// What a unique id says.
struct RootPlace {
  Address address;
  bool rank_zero_listens = false;  // Else the process that made the id listens already.
  bool any_interface = false;      // Rank 0 listens on all its addresses: others know it by name.
  Secret secret{};
};

// Throws Error(invalid_argument) for bytes that are no unique id.
RootPlace read_unique_id(const UniqueId& id);

// A root and the thread that serves it; the thread ends by itself when all ranks have gone on, or
// when a failed start has nobody left to tell.
class Root {
 public:
  Root(Fd listener, const Secret& secret);
  ~Root();
  Root(const Root&) = delete;
  Root& operator=(const Root&) = delete;

  bool finished() const { return finished_.load(std::memory_order_acquire); }
  bool failed() const { return failed_.load(std::memory_order_acquire); }
  std::uint16_t port() const { return port_; }
  const Secret& secret() const { return secret_; }

 private:
  struct Client {
    FrameSocket socket;
    std::uint32_t rank = 0;  // As its preamble says.
    bool listed = false;     // Its request is in the roster.
    bool own = false;        // It is this process.
    bool ready = false;
    bool here = false;  // It answered, when the time was up.
  };

  // The thread, and what it does with each client.
  void run();
  void admit(Fd socket, const Preamble& preamble);
  void serve(std::uint64_t id, std::uint32_t events);
  void handle(std::uint64_t id, const Frame& frame);
  void lost(std::uint64_t id);
  void take_request(Client& client, const Frame& frame);
  void take_ready(Client& client);
  // The time is up: for the ranks to come, for saying that they are here, or for telling those who
  // come late.
  void expire();
  void ask_late_ones();
  std::vector<std::uint32_t> late_ones() const;
  // The first sentence holds; everyone who is here now or comes later gets it.
  void fail_all(ErrorKind kind, const std::string& sentence);
  void send_to_all(FrameType type, std::string_view payload);
  void drop(std::uint64_t id);
  // The rank with the least patience counts: the root must answer before it gives up.
  void shorten_deadline(Milliseconds left);

  const Secret secret_;
  const std::uint16_t port_;
  Reactor reactor_;
  std::unique_ptr<Gate> gate_;
  std::map<std::uint64_t, Client> clients_;
  std::uint64_t last_client_ = 0;
  Roster roster_;
  std::uint32_t ready_ = 0;  // Ranks whose tree stands.
  bool asking_ = false;      // Those who are not ready were asked whether they are there.
  bool going_ = false;       // All were told to go on: what happens now is the tree's business.
  std::string failure_;
  ErrorKind failure_kind_ = ErrorKind::remote;
  std::set<std::uint32_t> told_;  // Ranks that were sent failure_.
  Clock::time_point begin_{};     // When the first rank came.
  Clock::time_point deadline_{};
  Reactor::Timer timer_ = 0;
  bool done_ = false;
  std::mutex end_mutex_;  // Of the reactor's end: whoever stops the root may come at any time.
  std::atomic<bool> stop_{false};
  std::atomic<bool> failed_{false};
  std::atomic<bool> finished_{false};
  std::thread thread_;
};

// The roots that live in this process. They stop when it ends. A forked child has copies of these
// objects, but not their threads, and shares their epoll sets with the parent: it lets go of them
// untouched.
class Roots {
 public:
  Roots();
  ~Roots();
  Roots(const Roots&) = delete;
  Roots& operator=(const Roots&) = delete;

  // Throws Error where it cannot listen there. A root there that serves nobody any more goes.
  std::uint16_t open(const Address& address, const Secret& secret);

  // Nobody will come: its only rank is here.
  void close(const Secret& secret);

  // Waits until the root with this secret has nobody left to tell why the start failed.
  void linger(const Secret& secret, const Deadline& deadline);

 private:
  void let_go_in_child();

  std::mutex mutex_;
  std::int64_t owner_;  // Process id.
  std::vector<std::unique_ptr<Root>> roots_;
};

Roots& roots_of_process();

}  // namespace accl::bootstrap
