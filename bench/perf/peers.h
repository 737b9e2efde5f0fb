// peers.h - the libraries that --peers measures beside ours: started once, then asked, block by
// block, to run what we just ran. Between blocks their ranks sleep (bench/peers/protocol.h).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "accl/base/fd.h"
#include "bench/peers/protocol.h"
#include "bench/perf/cases.h"
#include "bench/perf/conductor.h"
#include "bench/perf/process.h"

namespace accl::perf {

// A folder only we can read, removed with what is in it.
class PrivateFolder {
 public:
  PrivateFolder();
  ~PrivateFolder() { remove(); }
  PrivateFolder(const PrivateFolder&) = delete;
  PrivateFolder& operator=(const PrivateFolder&) = delete;
  const std::string& path() const { return path_; }
  void remove();

 private:
  std::string path_;
};

// How one peer library is started.
struct PeerKind {
  std::string name;     // "Open MPI no CMA".
  std::string program;  // Built where the library is installed.
  std::vector<std::string>
      launcher;  // Names of its mpirun; empty: its ranks are started one by one.
  std::vector<std::string> arguments;    // For the launcher.
  std::vector<std::string> environment;  // "NAME=value".
};

// For this transport ("shm", "tcp", ...), whether or not they are installed.
std::vector<PeerKind> peer_kinds(const std::string& transport);

class Peer {
 public:
  // Throws Error that says why it could not be started.
  Peer(const PeerKind& kind, std::uint32_t ranks);
  // Ends its processes: by asking, then by signals.
  ~Peer();

  const std::string& name() const { return name_; }
  const std::string& version() const { return version_; }

  // Median over the batches of the slowest rank; empty where it cannot do this. Throws Error where
  // it is gone or its sums are wrong.
  std::optional<double> run_us(const Case& row, const Pace& pace);

 private:
  void start(const PeerKind& kind, std::uint32_t ranks);
  void accept_ranks(std::uint32_t ranks);
  bool any_ended();
  std::string last_words() const;

  std::string name_, version_;
  PrivateFolder folder_;
  Fd listener_, log_;
  std::vector<Process> processes_;
  std::vector<Fd> ranks_;
};

// All that start; why the others do not is given as '#' lines in `notes`.
std::vector<std::unique_ptr<Peer>> start_peers(const std::string& transport, std::uint32_t ranks,
                                               std::string& notes);

}  // namespace accl::perf
