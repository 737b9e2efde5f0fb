#include "accl/bootstrap/council.h"

#include <algorithm>

#include "accl/bootstrap/judge.h"

// Times here follow from one promise: a verdict on every rank within a second of a death or of a
// complaint, with one rank in the way that does not answer.

namespace accl::bootstrap {
namespace {

// Deaths that come together are told together: the arbiter waits this long for more.
constexpr Milliseconds settle{20};
// A rank that should judge and does not is replaced by the next one after this time.
constexpr Milliseconds turn{250};
// When missing answers are asked for over links of their own, and when waiting for them ends.
constexpr Milliseconds first_call{180};
constexpr Milliseconds second_call{350};
constexpr Milliseconds answer_time{550};
// On a busy machine answers can be slow: nobody is called silent while others' still come in.
constexpr Milliseconds quiet_time{250};
// For ranks that are seen to run: a host can have many more ranks than cores.
constexpr Milliseconds slow_time{5000};
// Whoever answered will judge, if late: the next one steps in only where it died since.
constexpr Milliseconds judge_turn{1000};
// A connection breaks a moment before the death behind it is known.
constexpr Milliseconds broken_settle{100};
// An inquiry that nobody could end by then is dropped by those it does not concern, too.
constexpr Milliseconds inquiry_limit{30000};
constexpr std::size_t calls_at_once = 64;
constexpr std::size_t verdicts_kept = 64;

}  // namespace

Council::Council(Outside& outside, std::span<const Member> members, Rank self)
    : outside_(outside), members_(members), self_(index(self)) {}

void Council::learn(const Fact& fact, LinkId from, Time now) {
  const bool news = std::visit([&](const auto& body) { return take(body, now); }, fact);
  if (!news) return;
  // Passed on before anything that follows from it, so that no answer overtakes its question.
  outside_.flood(fact, from);
  react(fact, now);
}

bool Council::take(const GoneFact& fact, Time now) {
  if (fact.rank >= members_.size() || fact.how == Gone::no) return false;
  Gone& known = gone_[fact.rank];
  // Only whoever merely vanished can turn out to have left or died.
  if (known != Gone::no && (known != Gone::vanished || fact.how == Gone::vanished)) return false;
  known = fact.how;
  if (fact.how == Gone::died && !judged_.contains(fact.rank)) deaths_.emplace(fact.rank, now);
  return true;
}

bool Council::take(const AbortFact& fact, Time now) {
  if (aborts_.contains(fact.topic) || has_judged(fact.topic, fact.ranks)) return false;
  aborts_[fact.topic] = {fact, now};
  return true;
}

// A communicator gets one verdict ever, so it is looked into at most once: complaints that come
// meanwhile join the open inquiry.
bool Council::take(const InquiryFact& fact, Time now) {
  if (inquiries_.contains(fact.topic) || has_judged(fact.topic, fact.ranks)) return false;
  const auto outsider = [&](std::uint32_t rank) { return rank >= members_.size(); };
  if (std::any_of(fact.ranks.begin(), fact.ranks.end(), outsider)) return false;
  Inquiry& inquiry = inquiries_[fact.topic];
  inquiry.ranks = fact.ranks;
  inquiry.opened = now - Milliseconds(fact.age_ms);
  inquiry.heard = now;
  inquiry.states.resize(fact.ranks.size());
  return true;
}

bool Council::take(const StateFact& fact, Time now) {
  const auto inquiry = inquiries_.find(fact.topic);
  if (inquiry == inquiries_.end() || fact.position >= inquiry->second.states.size()) return false;
  std::optional<StateFact>& known = inquiry->second.states[fact.position];
  if (known && known->revision >= fact.revision) return false;
  known = fact;
  inquiry->second.heard = now;
  return true;
}

bool Council::take(const VerdictFact& fact, Time) {
  bool news = false;
  for (const Verdict& verdict : fact.verdicts) {
    if (std::find(verdicts_.begin(), verdicts_.end(), verdict) != verdicts_.end()) continue;
    add(verdict);
    news = true;
  }
  return news;
}

// What a verdict covers is settled, whoever still had it open.
void Council::add(const Verdict& verdict) {
  verdicts_.push_back(verdict);
  if (verdicts_.size() > verdicts_kept) verdicts_.erase(verdicts_.begin());
  for (const auto& [rank, how] : verdict.processes) {
    judged_.insert(rank);
    deaths_.erase(rank);
  }
  std::erase_if(inquiries_,
                [&](const auto& one) { return has_judged(one.first, one.second.ranks); });
  std::erase_if(aborts_,
                [&](const auto& one) { return has_judged(one.first, one.second.fact.ranks); });
  std::erase_if(complaints_, [&](const auto& one) { return !inquiries_.contains(one.first); });
  outside_.apply(verdict);
}

void Council::react(const Fact& fact, Time now) {
  if (!trouble_) {
    trouble_ = true;
    share_departures(now);
  }
  if (!std::holds_alternative<StateFact>(fact)) outside_.relink();
  const auto* const inquiry = std::get_if<InquiryFact>(&fact);
  if (inquiry != nullptr) send_own_state(inquiry->topic, now);
}

// In peace a goodbye is known to the neighbours only; now everybody must know who is there.
void Council::share_departures(Time) {
  for (const auto& [rank, how] : gone_) outside_.flood(GoneFact{rank, how}, 0);
}

void Council::send_own_state(std::uint64_t topic, Time now) {
  const Inquiry& inquiry = inquiries_.at(topic);
  const std::optional<std::uint32_t> position = own_position(inquiry.ranks);
  if (!position) return;
  const std::optional<StateFact>& before = inquiry.states[*position];
  StateFact fact{topic, *position, before ? before->revision + 1 : 1, outside_.own_state(topic)};
  if (const auto complaint = complaints_.find(topic); complaint != complaints_.end()) {
    fact.state.report = complaint->second;
  }
  learn(fact, 0, now);
}

void Council::saw_death(std::uint32_t rank, Time now) { learn(GoneFact{rank, Gone::died}, 0, now); }

void Council::saw_departure(std::uint32_t rank, Gone how, Time now) {
  const GoneFact fact{rank, how};
  if (trouble_) return learn(fact, 0, now);
  static_cast<void>(take(fact, now));
}

void Council::complain(std::uint64_t topic, std::span<const std::uint32_t> ranks,
                       const Report& report, Time now) {
  const Ranks list(ranks.begin(), ranks.end());
  if (has_judged(topic, list)) return;
  if (!complaints_.emplace(topic, report).second) return;  // The first one counts.
  // An answer that was sent says already whom we wait for.
  const bool is_told = report.kind == ReportKind::timeout && inquiries_.contains(topic);
  if (is_told) return;
  if (inquiries_.contains(topic)) return send_own_state(topic, now);
  learn(InquiryFact{topic, list, 0}, 0, now);
}

void Council::abort(std::uint64_t topic, std::span<const std::uint32_t> ranks, Time now) {
  const Ranks list(ranks.begin(), ranks.end());
  const std::uint32_t position = own_position(list).value_or(self_);
  const std::string text = label(members_[self_], position) + " called abort";
  learn(AbortFact{topic, list, ErrorKind::aborted, text}, 0, now);
}

void Council::give_up(std::uint64_t topic, std::span<const std::uint32_t> ranks,
                      const std::string& reason, Time now) {
  const Ranks list(ranks.begin(), ranks.end());
  const std::uint32_t position = own_position(list).value_or(self_);
  const std::string text = fmt::format("{} failed: {}", label(members_[self_], position), reason);
  learn(AbortFact{topic, list, ErrorKind::remote, text}, 0, now);
}

bool Council::busy() const { return !deaths_.empty() || !aborts_.empty() || !inquiries_.empty(); }

void Council::tick(Time now) {
  // Each decision changes what the others look at: one at a time until none is due.
  while (decide_deaths(now) || decide_abort(now)) {
  }
  std::erase_if(inquiries_,
                [&](const auto& one) { return now > one.second.opened + inquiry_limit; });
  std::vector<std::uint64_t> topics;
  for (const auto& [topic, inquiry] : inquiries_) topics.push_back(topic);
  for (const std::uint64_t topic : topics) {
    const auto inquiry = inquiries_.find(topic);
    if (inquiry != inquiries_.end()) decide_inquiry(topic, inquiry->second, now);
  }
}

// Each rank waits as many turns as there are lower ranks that could judge instead of it.
bool Council::decide_deaths(Time now) {
  if (deaths_.empty()) return false;
  const auto earliest =
      std::min_element(deaths_.begin(), deaths_.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  if (now < earliest->second + settle + turn * lower_present()) return false;
  Verdict verdict;
  for (const auto& [rank, since] : deaths_) verdict.processes.emplace_back(rank, Gone::died);
  issue(verdict, now);
  return true;
}

bool Council::decide_abort(Time now) {
  for (const auto& [topic, abort] : aborts_) {
    if (now < abort.since + turn * lower_present(abort.fact.ranks)) continue;
    issue(Verdict{abort.fact.kind, {}, topic, abort.fact.text}, now);
    return true;
  }
  return false;
}

// Ends as soon as every answer is there. Else the lowest rank that answered asks those that are
// missing over links of its own (the stopped one may have stood between), and waits on.
bool Council::decide_inquiry(std::uint64_t topic, Inquiry& inquiry, Time now) {
  if (!own_position(inquiry.ranks) || waits_for_death(inquiry)) return false;
  const auto age = std::chrono::duration_cast<Milliseconds>(now - inquiry.opened);
  const std::uint32_t lower = lower_answers(inquiry);
  const bool complete = is_complete(inquiry);
  if (!complete && lower == 0 && age >= (inquiry.calls == 0 ? first_call : second_call) &&
      inquiry.calls < 2) {
    ++inquiry.calls;
    call_missing(inquiry);
    return false;
  }
  const bool broken = std::any_of(
      inquiry.states.begin(), inquiry.states.end(),
      [](const auto& one) { return one && one->state.report.kind == ReportKind::broken; });
  Time due = inquiry.opened + (broken ? broken_settle : Milliseconds(0));
  if (!complete) due = std::max(inquiry.opened + answer_time, inquiry.heard + quiet_time);
  if (now < due + judge_turn * lower) return false;
  if (!complete && may_answer_yet(inquiry, now)) return false;
  conclude(topic, inquiry, now);
  return true;
}

void Council::call_missing(const Inquiry& inquiry) {
  std::size_t called = 0;
  for (std::size_t i = 0; i < inquiry.ranks.size() && called < calls_at_once; ++i) {
    if (inquiry.states[i] || gone_.contains(inquiry.ranks[i])) continue;
    outside_.reach(inquiry.ranks[i]);
    ++called;
  }
}

bool Council::may_answer_yet(const Inquiry& inquiry, Time now) const {
  if (now > inquiry.opened + slow_time) return false;
  for (std::size_t i = 0; i < inquiry.ranks.size(); ++i) {
    const std::uint32_t rank = inquiry.ranks[i];
    const bool is_missing = !inquiry.states[i] && !gone_.contains(rank);
    if (is_missing && outside_.is_running(rank)) return true;
  }
  return false;
}

// Silence is a process's fault and so a verdict on the process; all else is this communicator's.
void Council::conclude(std::uint64_t topic, const Inquiry& inquiry, Time now) {
  std::vector<Answer> answers(inquiry.ranks.size());
  for (std::uint32_t i = 0; i < answers.size(); ++i) {
    const std::uint32_t rank = inquiry.ranks[i];
    answers[i].name = label(members_[rank], i);
    answers[i].answered = inquiry.states[i].has_value();
    if (answers[i].answered) answers[i].state = inquiry.states[i]->state;
    if (const auto gone = gone_.find(rank); gone != gone_.end()) answers[i].gone = gone->second;
  }
  const Finding finding = judge(answers);
  Verdict verdict{finding.kind, {}, topic, finding.text};
  if (!finding.silent.empty()) verdict = Verdict{};
  for (const std::uint32_t position : finding.silent) {
    verdict.processes.emplace_back(inquiry.ranks[position], Gone::silent);
  }
  issue(verdict, now);
}

void Council::issue(const Verdict& verdict, Time now) {
  VerdictFact fact{verdicts_};
  fact.verdicts.push_back(verdict);
  learn(fact, 0, now);
}

bool Council::is_absent(std::uint32_t rank) const {
  return gone_.contains(rank) || judged_.contains(rank);
}

// Verdicts about a process hold for every communicator it is in.
bool Council::has_judged(std::uint64_t topic, const Ranks& ranks) const {
  const auto is_judged = [&](std::uint32_t rank) { return judged_.contains(rank); };
  if (!judged_.empty() && std::any_of(ranks.begin(), ranks.end(), is_judged)) return true;
  return std::any_of(verdicts_.begin(), verdicts_.end(), [&](const Verdict& verdict) {
    return verdict.processes.empty() && verdict.topic == topic;
  });
}

bool Council::is_complete(const Inquiry& inquiry) const {
  for (std::size_t i = 0; i < inquiry.ranks.size(); ++i) {
    if (!inquiry.states[i] && !gone_.contains(inquiry.ranks[i])) return false;
  }
  return true;
}

// The verdict on that death covers this inquiry too; two verdicts would race.
bool Council::waits_for_death(const Inquiry& inquiry) const {
  return std::any_of(inquiry.ranks.begin(), inquiry.ranks.end(),
                     [&](std::uint32_t rank) { return deaths_.contains(rank); });
}

std::uint32_t Council::lower_answers(const Inquiry& inquiry) const {
  std::uint32_t lower = 0;
  for (std::size_t i = 0; i < inquiry.ranks.size(); ++i) {
    const std::uint32_t rank = inquiry.ranks[i];
    if (rank < self_ && inquiry.states[i] && !is_absent(rank)) ++lower;
  }
  return lower;
}

std::uint32_t Council::lower_present(const Ranks& ranks) const {
  return static_cast<std::uint32_t>(
      std::count_if(ranks.begin(), ranks.end(),
                    [&](std::uint32_t rank) { return rank < self_ && !is_absent(rank); }));
}

std::uint32_t Council::lower_present() const {
  std::uint32_t lower = 0;
  for (std::uint32_t rank = 0; rank < self_; ++rank) lower += is_absent(rank) ? 0 : 1;
  return lower;
}

std::optional<std::uint32_t> Council::own_position(const Ranks& ranks) const {
  const auto found = std::find(ranks.begin(), ranks.end(), self_);
  if (found == ranks.end()) return std::nullopt;
  return static_cast<std::uint32_t>(found - ranks.begin());
}

std::vector<Fact> Council::knowledge(Time now) const {
  std::vector<Fact> facts;
  if (!trouble_) return facts;
  for (const auto& [rank, how] : gone_) facts.emplace_back(GoneFact{rank, how});
  if (!verdicts_.empty()) facts.emplace_back(VerdictFact{verdicts_});
  for (const auto& [topic, abort] : aborts_) facts.emplace_back(abort.fact);
  for (const auto& [topic, inquiry] : inquiries_) {
    const auto age = std::chrono::duration_cast<Milliseconds>(now - inquiry.opened).count();
    facts.emplace_back(InquiryFact{topic, inquiry.ranks, static_cast<std::uint32_t>(age)});
    for (const auto& state : inquiry.states) {
      if (state) facts.emplace_back(*state);
    }
  }
  return facts;
}

}  // namespace accl::bootstrap
