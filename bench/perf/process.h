// process.h - a child process, owned: started with an exact set of descriptors, watched by a pidfd,
// and never outliving this process (PR_SET_PDEATHSIG).
#pragma once

#include <sys/types.h>

#include <csignal>
#include <optional>
#include <string>
#include <vector>

#include "accl/base/clock.h"
#include "accl/base/fd.h"

namespace accl::perf {

struct Program {
  std::string path;
  std::vector<std::string> arguments;    // With the program's own name.
  std::vector<std::string> environment;  // "NAME=value", replacing what is there.
  int inherited = -1;                    // A descriptor that it keeps.
  int output = -1;                       // Where stdout and stderr go; -1: where ours go.
  int errors = -1;                       // Where stderr goes instead.
  int death_signal = SIGKILL;            // Sent to it when this process ends.
};

class Process {
 public:
  // Exit code of a child whose program could not be run.
  static constexpr int exec_failed = 127;

  // Throws Error(system).
  static Process start(const Program& program);
  Process(Process&&) noexcept;
  Process& operator=(Process&&) = delete;
  // Kills and reaps it where it still runs.
  ~Process();

  pid_t pid() const { return pid_; }
  // Readable once it has ended.
  int event_fd() const { return fd_.get(); }
  // Its wait status once it has ended; then the same for ever.
  std::optional<int> status();
  std::optional<int> wait(const Deadline& deadline);
  void kill(int signal);  // Nothing where it has ended.

 private:
  Process(pid_t pid, Fd fd) : pid_(pid), fd_(std::move(fd)) {}

  pid_t pid_;  // -1 in a moved-from object.
  Fd fd_;
  std::optional<int> status_;
};

// The first of these programs that PATH has; empty where it has none.
std::string find_program(const std::vector<std::string>& names);

}  // namespace accl::perf
