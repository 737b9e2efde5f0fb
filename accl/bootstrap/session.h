// session.h - the processes of one job, and what they know of each other. A Session is made once by
// all ranks of a unique id; communicators, split ones too, share it.
//
// It owns one listener, one thread, and a small tree of sockets. The thread accepts whoever comes
// with the secret (others are turned away and logged), keeps the tree, watches the processes of
// this host by pidfd, and finds who is to blame when something fails: see watch.h.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "accl/base/clock.h"
#include "accl/base/error.h"
#include "accl/base/fd.h"
#include "accl/base/ids.h"
#include "accl/bootstrap/unique_id.h"

namespace accl {

class Watch;

// One process of the job, as it described itself.
struct Member {
  Rank rank{};
  std::string host;  // Host name, for people.
  std::uint64_t
      host_id{};  // Equal where shared memory and unix sockets reach (boot id, network
                  // namespace; ACCL_HOST_ID overrides it, so tests can play several hosts).
  std::uint64_t kernel_id{};  // Equal where cores are shared: same boot of the same kernel, in
                              // whatever container or network namespace, and whatever a test plays.
  std::uint64_t pid_space{};  // Equal where pid numbers mean the same.
  std::int32_t pid{};
  std::string address;  // "host:port" of its listener, for messages.
};

struct JoinOptions {
  UniqueId id{};
  Rank rank{};
  std::uint32_t size = 1;
  Milliseconds timeout{30000};
  std::string version;   // Must be equal everywhere; a rank that differs is told in what.
  std::string settings;  // Rank 0's are sent to all; the others' are ignored.
};

// By which way ranks meet.
//   nearest  for data: unix sockets inside a host, which are faster and carry descriptors, else the
//            data network (ACCL_DATA_IFNAME)
//   network  for data: the data network, inside a host too
//   aside    for what shall not travel among the data: as nearest, but over the network that the
//            ranks joined over
enum class MeetOver : std::uint8_t { nearest, network, aside };

// What Session::meet throws where a rank did not come.
class Missing : public Error {
 public:
  Missing(ErrorKind kind, const std::string& text, Rank rank) : Error(kind, text), rank_(rank) {}
  Rank rank() const { return rank_; }

 private:
  Rank rank_;
};

class Session {
 public:
  // Blocks until all ranks are here and know each other. Throws Error that names what is wrong: who
  // is missing when the time is up (at the root: which ranks), a rank that came twice, one with
  // another size or version, an address that cannot be reached.
  static std::shared_ptr<Session> join(const JoinOptions& options);
  virtual ~Session() = default;

  virtual Rank self() const = 0;
  virtual std::span<const Member> members() const = 0;  // By rank.
  virtual const std::string& settings() const = 0;      // Rank 0's.
  virtual Milliseconds timeout() const = 0;

  // Opens a stream socket to each of `peers`: of unix domain where host_id is equal and `over` is
  // not network, else TCP with no delay. Every one of them must call it with us among its peers,
  // the same topic and the same `over`; the result is in the order of `peers`. Throws Error that
  // names the rank that did not come (a Missing).
  virtual std::vector<Fd> meet(std::span<const Rank> peers, std::uint64_t topic,
                               const Deadline& deadline, MeetOver over = MeetOver::nearest) = 0;

  // Starts watching a communicator: `topic` is the same on all of its ranks and never used twice
  // in this session; `ranks` are ours by rank in the communicator. Watch lives as long as it is
  // held, and keeps the session alive.
  virtual std::unique_ptr<Watch> watch(std::uint64_t topic, std::span<const Rank> ranks) = 0;
};

}  // namespace accl
