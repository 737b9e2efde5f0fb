// job_session.h - the Session that join() gives: what the ranks know of each other, and the engine
// that keeps them in touch.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "accl/bootstrap/engine.h"
#include "accl/bootstrap/roster.h"
#include "accl/bootstrap/session.h"

namespace accl::bootstrap {

class JobSession final : public Session, public std::enable_shared_from_this<JobSession> {
 public:
  JobSession(Table table, Rank self, Milliseconds timeout, std::vector<Fd> listeners);
  ~JobSession() override;

  Rank self() const override { return self_; }
  std::span<const Member> members() const override { return members_; }
  const std::string& settings() const override { return settings_; }
  Milliseconds timeout() const override { return timeout_; }
  std::vector<Fd> meet(std::span<const Rank> peers, std::uint64_t topic, const Deadline& deadline,
                       MeetOver over) override;
  std::unique_ptr<Watch> watch(std::uint64_t topic, std::span<const Rank> ranks) override;

  // For watches and meetings of this session.
  Engine& engine() { return *engine_; }
  const Contact& contact(std::uint32_t rank) const { return contacts_[rank]; }
  const Secret& secret() const { return secret_; }

 private:
  const Rank self_;
  const Milliseconds timeout_;
  const std::string settings_;
  const Secret secret_;
  const std::vector<Contact> contacts_;
  const std::vector<Member> members_;
  const std::int64_t owner_;        // Process id.
  std::unique_ptr<Engine> engine_;  // Last: its thread reads all of the above.
};

}  // namespace accl::bootstrap
