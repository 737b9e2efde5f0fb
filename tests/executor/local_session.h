// local_session.h - ranks as threads of one process, joined by socket pairs, for tests of what lies
// above the bootstrap. Each rank's session hands out one end of a pair per peer and topic.
#pragma once

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <vector>

#include "accl/base/error.h"
#include "accl/bootstrap/session.h"
#include "accl/bootstrap/watch.h"

namespace accl::testing {

// What all ranks of a test share.
class Meeting {
 public:
  // The end of rank `self` of the connection between two ranks.
  Fd take(Rank self, Rank peer, std::uint64_t topic) {
    const std::lock_guard lock(mutex_);
    const auto low = std::min(index(self), index(peer));
    const auto high = std::max(index(self), index(peer));
    auto& waiting = ends_[{topic, low, high}];
    if (waiting) return std::move(waiting);
    int pair[2] = {-1, -1};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
      fail_system("a pair of sockets", errno);
    }
    waiting.reset(pair[1]);
    return Fd(pair[0]);
  }

 private:
  std::mutex mutex_;
  std::map<std::tuple<std::uint64_t, std::uint32_t, std::uint32_t>, Fd> ends_;
};

class LocalWatch final : public Watch {
 public:
  CallBoard& board() override { return board_; }
  void set_witness(Witness) override {}
  Error verdict() const override { return Error(ErrorKind::aborted, text_); }
  int event_fd() const override { return event_.get(); }
  void report_timeout(Rank peer) override { end("timeout", peer); }
  void report_mismatch(Rank peer) override { end("mismatch", peer); }
  void report_broken(Rank peer, const std::string&) override { end("broken", peer); }
  void give_up(const std::string&) override { end("gave up", Rank{}); }
  void abort() override { end("aborted", Rank{}); }

 private:
  void end(const char* what, Rank peer) {
    text_ = fmt::format("{} {}", what, index(peer));
    failed_ = true;
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto n = ::write(event_.get(), &one, sizeof one);
  }
  CallBoard board_;
  std::string text_;
  Fd event_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
};

class LocalSession final : public Session {
 public:
  // Ranks of one host have the same number in `hosts`.
  LocalSession(std::shared_ptr<Meeting> meeting, Rank self, const std::vector<int>& hosts)
      : meeting_(std::move(meeting)), self_(self) {
    for (std::uint32_t r = 0; r < hosts.size(); ++r) {
      Member member;
      member.rank = Rank{r};
      member.host = fmt::format("host{}", hosts[r]);
      member.host_id = static_cast<std::uint64_t>(hosts[r]) + 1;
      member.kernel_id = 1;  // Threads share cores, whatever hosts they play.
      member.pid = ::getpid();
      members_.push_back(member);
    }
  }
  Rank self() const override { return self_; }
  std::span<const Member> members() const override { return members_; }
  const std::string& settings() const override { return settings_; }
  Milliseconds timeout() const override { return Milliseconds(10000); }
  std::vector<Fd> meet(std::span<const Rank> peers, std::uint64_t topic, const Deadline&,
                       MeetOver) override {
    std::vector<Fd> sockets;
    for (const Rank peer : peers) sockets.push_back(meeting_->take(self_, peer, topic));
    return sockets;
  }
  std::unique_ptr<Watch> watch(std::uint64_t, std::span<const Rank>) override {
    return std::make_unique<LocalWatch>();
  }

 private:
  std::shared_ptr<Meeting> meeting_;
  Rank self_;
  std::vector<Member> members_;
  std::string settings_;
};

}  // namespace accl::testing
