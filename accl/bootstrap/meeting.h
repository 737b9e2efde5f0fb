// meeting.h - one call of Session::meet: the higher rank of each pair dials the lower one and waits
// for a byte that says "I take you"; the lower one picks the socket up from the desk. All dials go
// out before anything is waited for, so no order of ranks can deadlock.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "accl/base/clock.h"
#include "accl/base/fd.h"
#include "accl/bootstrap/desk.h"
#include "accl/bootstrap/job_session.h"

namespace accl::bootstrap {

class Meeting {
 public:
  Meeting(JobSession& session, std::span<const Rank> peers, std::uint64_t topic, MeetOver over);

  // Throws Error that names the rank that did not come, or the verdict that ended the wait.
  std::vector<Fd> run(const Deadline& deadline);

 private:
  enum class Stage { idle, connecting, dialled, met };
  struct Guest {
    std::uint32_t rank = 0;
    bool dials = false;  // We dial it.
    Stage stage = Stage::idle;
    Fd socket;
    Clock::time_point next_try{};
    std::string trouble;  // Why the last try failed.
  };

  Address way_to_guest(const Guest& guest) const;
  Fd call(const Guest& guest) const;
  bool advance();  // True once all are met.
  void pick_up(Guest& guest);
  void dial(Guest& guest);
  void finish_dial(Guest& guest);
  void read_answer(Guest& guest);
  void meet(Guest& guest);
  void try_again(Guest& guest, int error);
  void look_for_verdict() const;
  void wait(const Deadline& deadline) const;
  std::string path_of(const Guest& guest) const;
  [[noreturn]] void give_up() const;

  JobSession& session_;
  const std::uint64_t topic_;
  const MeetOver over_;
  Desk::Bell bell_;
  std::vector<Guest> guests_;
};

}  // namespace accl::bootstrap
