// council.h - how the ranks of a session agree on who is to blame. Pure state: facts and the time
// go in; facts to pass on, verdicts, and wishes for more links come out through Outside. No
// sockets.
//
// Every rank learns every fact. A verdict is made by one rank only, the lowest that is there: about
// a process, the lowest of the session; about a communicator, the lowest of that communicator that
// answered. If that one does not do its part, the next one does a moment later. It sends all the
// verdicts it knows, so that all ranks hold them in one order, and the first that concerns a
// communicator is the one it fails with.
//
// (Two verdict makers are possible only where a process dies within milliseconds of having answered
// an inquiry into a communicator without the session's lowest rank: then two ranks of it may name
// different causes, both true.)
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "accl/base/clock.h"
#include "accl/bootstrap/facts.h"
#include "accl/bootstrap/session.h"

namespace accl::bootstrap {

class Council {
 public:
  using LinkId = std::uint64_t;
  using Time = Clock::time_point;

  class Outside {
   public:
    virtual ~Outside() = default;
    // To all links but one.
    virtual void flood(const Fact& fact, LinkId except) = 0;
    // What this rank does there now.
    virtual RankState own_state(std::uint64_t topic) = 0;
    virtual void apply(const Verdict& verdict) = 0;
    // The set of ranks that are gone has changed, or there is news to bring round those that are.
    virtual void relink() = 0;
    // Please get a link to this rank, which has not answered.
    virtual void reach(std::uint32_t rank) = 0;
    // This rank runs, as far as can be seen from here, and is only slow.
    virtual bool is_running(std::uint32_t rank) = 0;
  };

  Council(Outside& outside, std::span<const Member> members, Rank self);

  void learn(const Fact& fact, LinkId from, Time now);

  // Observations of our own.
  void saw_death(std::uint32_t rank, Time now);
  void saw_departure(std::uint32_t rank, Gone how, Time now);  // left or vanished.
  void complain(std::uint64_t topic, std::span<const std::uint32_t> ranks, const Report& report,
                Time now);
  void abort(std::uint64_t topic, std::span<const std::uint32_t> ranks, Time now);
  // This rank failed in a way that no other can see.
  void give_up(std::uint64_t topic, std::span<const std::uint32_t> ranks, const std::string& reason,
               Time now);

  // Call it every few milliseconds while busy().
  void tick(Time now);
  bool busy() const;

  bool is_gone(std::uint32_t rank) const { return gone_.contains(rank); }

  // All that a rank must hear that has a new link to us.
  std::vector<Fact> knowledge(Time now) const;

 private:
  using Ranks = std::vector<std::uint32_t>;

  struct Inquiry {
    Ranks ranks;
    Time opened;
    Time heard;                                    // When the last news of it came.
    std::vector<std::optional<StateFact>> states;  // By rank in the communicator.
    int calls = 0;                                 // Rounds of reach() so far.
  };
  struct Abort {
    AbortFact fact;
    Time since;
  };

  // Each takes a fact in; true if it taught us something.
  bool take(const GoneFact& fact, Time now);
  bool take(const AbortFact& fact, Time now);
  bool take(const InquiryFact& fact, Time now);
  bool take(const StateFact& fact, Time now);
  bool take(const VerdictFact& fact, Time now);

  void react(const Fact& fact, Time now);
  void add(const Verdict& verdict);
  void send_own_state(std::uint64_t topic, Time now);
  void share_departures(Time now);

  bool decide_deaths(Time now);
  bool decide_abort(Time now);
  bool decide_inquiry(std::uint64_t topic, Inquiry& inquiry, Time now);
  void call_missing(const Inquiry& inquiry);
  bool may_answer_yet(const Inquiry& inquiry, Time now) const;
  void conclude(std::uint64_t topic, const Inquiry& inquiry, Time now);
  void issue(const Verdict& verdict, Time now);

  bool is_absent(std::uint32_t rank) const;
  bool has_judged(std::uint64_t topic, const Ranks& ranks) const;
  bool is_complete(const Inquiry& inquiry) const;
  bool waits_for_death(const Inquiry& inquiry) const;
  std::uint32_t lower_answers(const Inquiry& inquiry) const;
  std::uint32_t lower_present(const Ranks& ranks) const;
  std::uint32_t lower_present() const;
  std::optional<std::uint32_t> own_position(const Ranks& ranks) const;

  Outside& outside_;
  const std::span<const Member> members_;
  const std::uint32_t self_;
  bool trouble_ = false;  // Some fact is known; until then goodbyes are nobody else's business.
  std::map<std::uint32_t, Gone> gone_;     // left, vanished and died.
  std::map<std::uint32_t, Time> deaths_;   // Not in any verdict yet.
  std::set<std::uint32_t> judged_;         // In a verdict.
  std::map<std::uint64_t, Abort> aborts_;  // Not in any verdict yet.
  std::map<std::uint64_t, Inquiry> inquiries_;
  std::map<std::uint64_t, Report> complaints_;  // Our own, of open inquiries.
  std::vector<Verdict> verdicts_;               // In the order they hold.
};

// "rank 2 (host a, pid 123)", or with its number in the session where that is another one.
std::string label(const Member& member, std::uint32_t position);

// The sentence of a verdict about processes, for a communicator; empty where none of them is in it.
std::string process_sentence(const Verdict& verdict, std::span<const std::uint32_t> ranks,
                             std::span<const Member> members);

}  // namespace accl::bootstrap
