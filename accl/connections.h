// connections.h - the endpoints of one communicator, opened when a plan first needs them, and the
// transports that carry them.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "accl/base/clock.h"
#include "accl/binding.h"
#include "accl/bootstrap/session.h"
#include "accl/bootstrap/watch.h"
#include "transport/trace/trace.h"
#include "transport/transport.h"

namespace accl {

struct ConnectionOptions {
  std::string transport = "auto";  // "auto": shm inside a host, else tcp; never ucx, verbs.
  // What carries data inside a host: "direct" shared memory, "nic" the network, "auto" the network
  // where the transport is named, else shared memory.
  std::string intra_host = "auto";
  std::string fault;        // transport/fault; empty: none.
  std::uint64_t topic = 0;  // Of the communicator in its session.
  // See CommunicatorOptions.
  std::vector<std::uint32_t> lanes{};
  std::string nic{};
  // Counts every message and its payload (transport/trace); null: nothing is counted.
  std::shared_ptr<TransportCounters> counters{};
};

class Connections {
 public:
  // `ranks` are the session's, by rank in the communicator. Throws Error where the transport is
  // not known or cannot reach a rank.
  Connections(Session& session, std::vector<Rank> ranks, Rank self,
              const ConnectionOptions& options);
  ~Connections();

  // Joins the ranks not joined yet; each of them must do so too. Throws the verdict of `watch`
  // where there is one; else an Error naming a rank, after reporting that rank to `watch`.
  void open(std::span<const Rank> peers, Watch& watch);
  PeerLanes* lanes(Rank peer) { return peers_[index(peer)].get(); }

  std::uint32_t ring_bytes() const { return geometry().ring_bytes; }
  std::string names() const;  // "shm", "shm+tcp", "" before the first.
  // Whether what peers send is carried by this host's cores, and not by a device: ranks that give
  // their core up soon let it arrive sooner.
  bool is_carried_by_cores() const { return push_ != nullptr && !is_by_device_; }
  // Whether connections must be polled between calls, too, now and then: those over verbs, whose
  // queues have to be replaced when a port dies.
  bool needs_care() const { return push_ != nullptr && is_by_device_; }
  bool is_one_host() const;
  // What selection goes by before any connection is open, alike on all ranks: "shm", the name of
  // the network's transport, or both, as "shm+tcp".
  std::string expected() const;
  // This machine has more ranks than cores for them: those of all its containers and network
  // namespaces, since they share the cores.
  bool is_crowded() const { return is_crowded_; }

  // As Transport's.
  bool poll() {
    const bool has_news = push_ != nullptr && push_->poll();
    if (is_decorated_) shm_->poll();
    return has_news || shm_ != nullptr;
  }
  // See Transport. The descriptors are in `event_fds`.
  bool arm();
  void disarm();
  std::vector<int> event_fds() const;

  // The endpoint's own words if it is broken, else empty.
  std::string failure(Rank peer) const;
  // " over 10.0.1.2:41234 on eth0 to 10.0.3.2:35555" for a sentence; empty where nothing is known.
  std::string over(Rank peer) const;
  // Of a call that failed: no peer writes into its memory any more.
  void withdraw();
  // Connections that carry nothing. From any thread.
  std::vector<DeadPath> dead_paths() const;

  // A region of ours that peers of this host may look at; null where they cannot.
  std::unique_ptr<Region> share(const Memory& memory);
  // So that the network's devices send it from where it lies; null where they do not.
  bool has_network() const { return push_ != nullptr; }
  std::unique_ptr<Region> offer_to_network(const Memory& memory);
  // The same for memory that the user registers, before any connection is open too. Throws Error
  // (system) where a device refuses it or there is none; null where the network has no use for it.
  std::unique_ptr<Region> add_to_network(const Memory& memory);

 private:
  std::vector<Rank> not_joined(std::span<const Rank> peers) const;
  std::vector<Fd> meet(std::span<const Rank> peers, const Deadline& deadline, Watch& watch);
  void join(Rank peer, const Deadline& deadline, const Watch& watch);
  Transport& transport_for(Rank peer);
  Transport& network_transport();
  std::unique_ptr<Transport> make_push() const;
  std::vector<std::uint32_t> network_paths() const;
  bool is_local(Rank peer) const;
  bool is_over_network(Rank peer) const;
  bool shares_memory_inside_hosts() const;
  std::string network() const;  // The transport between hosts.
  std::uint32_t index_on_host() const;
  Geometry geometry() const;
  std::unique_ptr<Transport> decorate(std::unique_ptr<Transport> transport) const;

  Session& session_;
  const std::vector<Rank> ranks_;
  const Rank self_;
  const ConnectionOptions options_;
  const bool is_by_device_;  // What goes over the network.
  bool is_crowded_ = false;
  bool is_decorated_ = false;  // Shared memory itself needs no polling, a decorator does.
  std::unique_ptr<Transport> shm_, push_;  // The second is tcp, ucx or verbs.
  mutable std::mutex mutex_;               // Of the next, for other threads that read it.
  std::vector<std::unique_ptr<Endpoint>> endpoints_;  // By rank; after the transports: goes first.
  std::vector<std::unique_ptr<PeerLanes>> peers_;     // By rank.
};

}  // namespace accl
