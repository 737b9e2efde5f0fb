#include "bench/perf/launcher.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>
#include <vector>

#include "accl/base/clock.h"
#include "accl/base/error.h"
#include "bench/perf/process.h"
#include "bench/perf/seat.h"

namespace accl::perf {
namespace {

// Longer than the library needs to agree on who died (one second).
constexpr Milliseconds grace{3000};

struct Child {
  Rank rank{};
  Process process;
  Fd report;  // Its last words.
  bool ended = false;
};

Child start(const Options& options, const Seat& seat) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) fail_system("a pipe to a rank", errno);
  Fd reading(ends[0]);
  const Fd writing(ends[1]);
  Program program;
  program.path = "/proc/self/exe";
  program.arguments = options.arguments;
  program.environment = {seat_entry(seat, writing.get())};
  program.inherited = writing.get();
  return {seat.rank, Process::start(program), std::move(reading), false};
}

// What an ended rank left; empty where it was not asked or had no time.
std::string read_report(const Child& child) {
  std::string text(4096, '\0');
  pollfd wait{child.report.get(), POLLIN, 0};
  if (::poll(&wait, 1, 0) <= 0) return {};
  const ssize_t bytes = ::read(child.report.get(), text.data(), text.size());
  text.resize(bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
  return text;
}

class Watchman {
 public:
  explicit Watchman(std::vector<Child> children) : children_(std::move(children)) {}

  int run(std::uint64_t timeout_s) {
    const Deadline whole{Milliseconds(timeout_s * 1000)};
    while (std::ranges::count(children_, false, &Child::ended) != 0) {
      // -1 waits for ever: the ranks hold their own time-outs, and a dead one wakes this.
      const int unfailed_ms = timeout_s != 0 ? whole.left_ms() : -1;
      wait(killing_ ? -1 : failed() ? rest_.left_ms() : unfailed_ms);
      if (failed() && rest_.passed()) kill_rest();
      if (!failed() && timeout_s != 0 && whole.passed()) {
        note(1, fmt::format("not finished after {} s (-T), ended", timeout_s));
        kill_rest();
      }
    }
    if (!story().empty()) fmt::print(stderr, "accl-perf: {}\n", story());
    return killed_.empty() ? code_ : 1;
  }

 private:
  bool failed() const { return code_ != 0; }
  // A killed rank is the cause of whatever the others say, even if they said it first.
  const std::string& story() const { return killed_.empty() ? said_ : killed_; }

  void wait(int timeout_ms) {
    std::vector<pollfd> polled;
    for (const Child& child : children_) {
      polled.push_back({child.ended ? -1 : child.process.event_fd(), POLLIN, 0});
    }
    if (::poll(polled.data(), polled.size(), timeout_ms) < 0 && errno != EINTR) {
      fail_system("watching the ranks", errno);
    }
    for (Child& child : children_) {
      const std::optional<int> status = child.ended ? std::nullopt : child.process.status();
      if (status) end(child, *status);
    }
  }

  void end(Child& child, int status) {
    child.ended = true;
    const std::uint32_t rank = index(child.rank);
    if (WIFSIGNALED(status)) {
      if (killing_) return;
      const int signal = WTERMSIG(status);
      killed_ += fmt::format("{}rank {} (pid {}) was killed by signal {} ({})",
                             killed_.empty() ? "" : ", ", rank, child.process.pid(), signal,
                             ::strsignal(signal));
      return note(1, {});
    }
    const int code = WEXITSTATUS(status);
    if (code == Process::exec_failed) {
      return note(1, fmt::format("rank {} could not be started", rank));
    }
    if (code != 0) note(code, read_report(child));
  }

  // The first failure is the one that is told, and starts the clock for the others.
  void note(int code, const std::string& text) {
    if (!failed()) {
      rest_ = Deadline(grace);
      code_ = code;
    }
    if (said_.empty()) said_ = text;
  }

  void kill_rest() {
    killing_ = true;
    for (Child& child : children_) {
      if (!child.ended) child.process.kill(SIGKILL);
    }
  }

  std::vector<Child> children_;
  Deadline rest_{grace};
  bool killing_ = false;  // Who dies now dies of us.
  int code_ = 0;          // Of the first that failed.
  std::string said_;      // By the first that failed and had something to say.
  std::string killed_;    // Ranks that died of signals that were not ours.
};

}  // namespace

int launch_ranks(const Options& options, std::uint32_t ranks) {
  Seat seat;
  seat.world = ranks;
  seat.id = make_unique_id();
  std::vector<Child> children;
  for (std::uint32_t rank = 0; rank < ranks; ++rank) {
    seat.rank = Rank{rank};
    children.push_back(start(options, seat));
  }
  return Watchman(std::move(children)).run(options.timeout_s);
}

}  // namespace accl::perf
