// engine.h - the session's one thread: it lets peers in, keeps the links to the neighbours, watches
// the processes of this host, and serves the council. It answers for its rank while the thread that
// runs a collective is busy or stuck.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "accl/base/fd.h"
#include "accl/bootstrap/council.h"
#include "accl/bootstrap/desk.h"
#include "accl/bootstrap/frame_socket.h"
#include "accl/bootstrap/gate.h"
#include "accl/bootstrap/reactor.h"
#include "accl/bootstrap/roster.h"
#include "accl/bootstrap/watch_list.h"

namespace accl::bootstrap {

// Where this rank dials that one: its unix socket where both are on one host.
Address way_to(const Contact& from, const Contact& to);

// The preamble with which this rank comes to another one.
Preamble introduction(Purpose purpose, Rank self, std::uint64_t topic, const Secret& secret);

class Engine final : private Council::Outside {
 public:
  // `contacts` (by rank) outlives it. Starts the thread, which dials the neighbours.
  Engine(std::span<const Contact> contacts, std::span<const Member> members, Rank self,
         const Secret& secret, std::vector<Fd> listeners);
  // Says goodbye to the neighbours, and ends the thread.
  ~Engine() override;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Readable once links to all neighbours stand, or one of them cannot be reached.
  int tree_event() const { return tree_event_.get(); }
  // What is wrong with the tree; empty where nothing is.
  std::string tree_problem() const;

  Desk& desk() { return desk_; }
  WatchList& watches() { return watches_; }

  // Hands work to the thread.
  using Work = std::function<void(Council& council)>;
  void post(Work work);

 private:
  using LinkId = Council::LinkId;
  struct Link {
    std::uint32_t rank = 0;
    FrameSocket socket;
    bool connecting = false;
    bool goodbye = false;   // Its end means nothing bad.
    bool is_spare = false;  // A ring link: what everybody sends to everybody takes the tree.
    bool has_news = false;  // Frames wait for flush_links().
  };

  // What the council asks for.
  void flood(const Fact& fact, LinkId except) override;
  RankState own_state(std::uint64_t topic) override;
  void apply(const Verdict& verdict) override;
  void relink() override;
  void reach(std::uint32_t rank) override;
  bool is_running(std::uint32_t rank) override;

  // The thread: first the neighbours; then one round is events, posted work, the council's clock,
  // then sending.
  void run();
  void begin();
  void step();
  void run_posted();
  void say_goodbye();

  // Who comes through the gate: a neighbour's link, or a socket for the desk.
  void admit(Fd socket, const Preamble& preamble);

  // Links. One is identified by a number, not by its rank: two ranks that dial each other at the
  // same time have two, and that does no harm.
  void dial(std::uint32_t rank);
  void add_link(std::uint32_t rank, Fd socket, bool connecting);
  void serve(LinkId id, std::uint32_t events);
  void finish_dial(LinkId id);
  void greet(LinkId id);
  void read_frames(LinkId id);
  void handle(LinkId id, const Frame& frame);
  void drop(LinkId id);
  void lost(LinkId id);
  void cannot_reach(std::uint32_t rank, int error);
  bool has_way(std::uint32_t rank) const;
  static void send(Link& link, const Packet& packet);
  void flush_links();

  // Processes of this host, by pidfd: a forked child of a dead rank may hold its sockets open.
  void watch_process(std::uint32_t rank);
  void process_ended(std::uint32_t rank);
  void forget_process(std::uint32_t rank);

  // Until the tree stands, whatever goes wrong with a neighbour ends the join.
  void check_tree();
  void tree_failed(const std::string& why);

  const std::span<const Contact> contacts_;
  const std::span<const Member> members_;
  const std::uint32_t self_;
  const Secret secret_;
  const std::vector<std::uint32_t> neighbours_;
  Desk desk_;
  WatchList watches_;
  Reactor reactor_;
  Council council_;
  Gate gate_;
  std::map<LinkId, Link> links_;
  LinkId last_link_ = 0;
  std::set<std::uint32_t> unreachable_;    // Nobody listens there any more.
  std::map<std::uint32_t, Fd> processes_;  // By rank: pidfds of neighbours on this host.
  Reactor::Timer tick_ = 0;  // Wakes the thread while the council waits for time to pass.
  Fd tree_event_;
  bool tree_stands_ = false;  // Once true, for ever: later deaths are the council's business.
  bool relinking_ = false;
  bool relink_again_ = false;
  mutable std::mutex mutex_;  // Of what follows.
  std::vector<Work> posted_;
  std::string tree_problem_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace accl::bootstrap
