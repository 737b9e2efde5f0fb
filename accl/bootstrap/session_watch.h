// session_watch.h - a Watch of a JobSession.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "accl/base/fd.h"
#include "accl/bootstrap/job_session.h"
#include "accl/bootstrap/watch.h"
#include "accl/bootstrap/watch_list.h"

namespace accl::bootstrap {

class SessionWatch final : public Watch, private Watched {
 public:
  SessionWatch(std::shared_ptr<JobSession> session, std::uint64_t topic,
               std::span<const Rank> ranks);
  ~SessionWatch() override;

  CallBoard& board() override { return board_; }
  Error verdict() const override;
  int event_fd() const override { return event_.get(); }
  void set_witness(Witness witness) override;
  void report_timeout(Rank waiting_for) override;
  void report_mismatch(Rank peer) override;
  void report_broken(Rank peer, const std::string& reason) override;
  void give_up(const std::string& reason) override;
  void abort() override;

 private:
  // Called by the session's thread.
  RankState state() const override;
  void add_dead(RankState& state) const;
  void fail(const Error& error) override;
  std::optional<Error> failure() const override;
  std::span<const std::uint32_t> ranks() const override { return ranks_; }
  void complain(ReportKind kind, Rank peer, const std::string& reason);

  const std::shared_ptr<JobSession> session_;
  const std::uint64_t topic_;
  std::vector<std::uint32_t> ranks_;  // World ranks by rank in the communicator.
  CallBoard board_;
  Fd event_;
  mutable std::mutex mutex_;  // Of failure_; failed_ is set after it.
  std::optional<Error> failure_;
  mutable std::mutex witness_mutex_;  // Of witness_, and held while it speaks.
  Witness witness_;
};

}  // namespace accl::bootstrap
