#include "accl/bootstrap/judge.h"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>

#include "accl/base/types.h"
#include "accl/bootstrap/roster.h"
#include "algorithms/catalog.h"

namespace accl::bootstrap {
namespace {

using Answers = std::span<const Answer>;
using Ranks = std::vector<std::uint32_t>;

Ranks ranks_where(Answers answers, const std::function<bool(const Answer&)>& test) {
  Ranks ranks;
  for (std::uint32_t i = 0; i < answers.size(); ++i) {
    if (test(answers[i])) ranks.push_back(i);
  }
  return ranks;
}

// One rank by its full name, several by their numbers.
std::string name_all(Answers answers, const Ranks& ranks) {
  return ranks.size() == 1 ? answers[ranks[0]].name : list_ranks(ranks);
}

const char* verb(const Ranks& ranks, const char* one, const char* many) {
  return ranks.size() == 1 ? one : many;
}

// Which of a call's details to print: those that differ, where some do.
struct Details {
  bool op = false, root = false, algorithm = false;
};

// "allreduce of 100 float".
std::string describe_call(const RankState& state, const Details& details = {}) {
  const auto collective = static_cast<Collective>(state.collective);
  const bool known = state.collective < collective_count && state.type < data_type_count;
  if (!known) return fmt::format("collective {}", state.collective);
  std::string text(name_of(collective));
  if (collective != Collective::barrier) {
    text += fmt::format(" of {} {}", state.count, name_of(static_cast<DataType>(state.type)));
  }
  if (details.op && state.op < reduce_op_count) {
    text += fmt::format(" with {}", name_of(static_cast<ReduceOp>(state.op)));
  }
  if (details.root) text += fmt::format(" with root {}", state.root);
  if (details.algorithm) {
    const auto known = algorithms();
    const bool is_known = state.algorithm < known.size();
    text += fmt::format(" by {}", is_known ? known[state.algorithm].name : "an unknown algorithm");
  }
  return text;
}

// Of these every rank may have another number of elements.
bool counts_may_differ(const RankState& state) {
  const auto collective = static_cast<Collective>(state.collective);
  return collective == Collective::alltoallv || collective == Collective::sendrecv;
}

bool same_call(const RankState& a, const RankState& b) {
  return a.collective == b.collective && a.type == b.type && a.op == b.op && a.root == b.root &&
         a.algorithm == b.algorithm && (a.count == b.count || counts_may_differ(a));
}

// Ranks that run the same call, largest group first; equals by their lowest rank.
std::vector<Ranks> groups_of(Answers answers, const Ranks& ranks) {
  std::vector<Ranks> groups;
  for (const std::uint32_t rank : ranks) {
    const auto same = [&](const Ranks& group) {
      return same_call(answers[group[0]].state, answers[rank].state);
    };
    const auto found = std::find_if(groups.begin(), groups.end(), same);
    if (found != groups.end()) found->push_back(rank);
    if (found == groups.end()) groups.push_back({rank});
  }
  std::stable_sort(groups.begin(), groups.end(),
                   [](const Ranks& a, const Ranks& b) { return a.size() > b.size(); });
  return groups;
}

std::string describe_disagreement(Answers answers, const std::vector<Ranks>& groups,
                                  std::uint64_t call) {
  constexpr std::size_t groups_named = 4;
  const auto differs = [&](auto field) {
    return std::any_of(groups.begin(), groups.end(), [&](const Ranks& group) {
      return answers[group[0]].state.*field != answers[groups[0][0]].state.*field;
    });
  };
  const Details details{differs(&RankState::op), differs(&RankState::root),
                        differs(&RankState::algorithm)};
  // Those who differ come first: they are to blame, where there is a majority.
  std::string text = fmt::format("in call {} ", call);
  const std::size_t shown = std::min(groups.size(), groups_named);
  for (std::size_t i = 1; i < shown; ++i) {
    text += fmt::format("{}{} {} {}", i > 1 ? ", " : "", name_all(answers, groups[i]),
                        verb(groups[i], "calls", "call"),
                        describe_call(answers[groups[i][0]].state, details));
  }
  if (shown < groups.size()) text += ", others differ too,";
  return text + fmt::format(" while {} {} {}", name_all(answers, groups[0]),
                            verb(groups[0], "calls", "call"),
                            describe_call(answers[groups[0][0]].state, details));
}

// Each of these gives a finding, or leaves the case to the next one.
std::optional<Finding> find_silence(Answers answers) {
  Finding finding;
  finding.silent =
      ranks_where(answers, [](const Answer& one) { return !one.answered && one.gone == Gone::no; });
  if (finding.silent.empty()) return std::nullopt;
  return finding;
}

// A board shows its last call after the call has ended too, so a rank that is through with a call
// it ran differently is found as well.
std::optional<Finding> find_disagreement(Answers answers) {
  std::map<std::uint64_t, Ranks> by_call;
  for (std::uint32_t i = 0; i < answers.size(); ++i) {
    if (answers[i].answered && answers[i].state.call != 0) {
      by_call[answers[i].state.call].push_back(i);
    }
  }
  for (const auto& [call, ranks] : by_call) {
    const std::vector<Ranks> groups = groups_of(answers, ranks);
    if (groups.size() < 2) continue;
    return Finding{{}, ErrorKind::invalid_usage, describe_disagreement(answers, groups, call)};
  }
  return std::nullopt;
}

bool waits_for(const Answer& one, std::uint32_t rank) {
  if (!one.answered) return false;
  const auto peer = static_cast<std::int32_t>(rank);
  const bool complains = one.state.report.kind != ReportKind::none && one.state.report.peer == peer;
  return complains || (one.state.in_call() && one.state.waiting_for == peer);
}

// Who left at the end of its work, and nobody misses it, did nothing wrong.
std::optional<Finding> find_departure(Answers answers) {
  for (std::uint32_t i = 0; i < answers.size(); ++i) {
    if (answers[i].gone != Gone::left && answers[i].gone != Gone::vanished) continue;
    const Ranks waiting =
        ranks_where(answers, [&](const Answer& one) { return waits_for(one, i); });
    if (waiting.empty()) continue;
    return Finding{
        {},
        ErrorKind::remote,
        fmt::format("{} left while {} {} for it in call {}", answers[i].name, list_ranks(waiting),
                    verb(waiting, "waits", "wait"), answers[waiting[0]].state.call)};
  }
  return std::nullopt;
}

std::string where_is(const RankState& state) {
  if (!state.open) return "has not opened this communicator, or has closed it";
  if (state.call == 0) return "has made no call yet";
  return fmt::format("{} call {} ({})", state.in_call() ? "is in" : "has finished", state.call,
                     describe_call(state));
}

std::optional<Finding> find_report(Answers answers, ReportKind kind) {
  const Ranks reporters = ranks_where(
      answers, [&](const Answer& one) { return one.answered && one.state.report.kind == kind; });
  if (reporters.empty()) return std::nullopt;
  const Answer& one = answers[reporters[0]];
  const auto peer = static_cast<std::size_t>(one.state.report.peer);
  const bool known = peer < answers.size();
  const std::string other = known ? answers[peer].name : "an unknown rank";
  if (kind == ReportKind::broken) {
    return Finding{{},
                   ErrorKind::remote,
                   fmt::format("the connection between {} and {} broke: {}", one.name, other,
                               one.state.report.reason)};
  }
  const bool told = known && answers[peer].answered;
  return Finding{
      {},
      ErrorKind::invalid_usage,
      fmt::format("{} got a message from {} that does not belong to its call {} ({}){}{}", one.name,
                  other, one.state.call, describe_call(one.state), told ? "; that one " : "",
                  told ? where_is(answers[peer].state) : "")};
}

// The call that is to finish first.
std::optional<std::uint64_t> lowest_call(Answers answers) {
  std::optional<std::uint64_t> lowest;
  for (const Answer& one : answers) {
    if (!one.answered || !one.state.in_call()) continue;
    lowest = std::min(lowest.value_or(one.state.call), one.state.call);
  }
  return lowest;
}

// Ranks in later calls wait for those in the earliest one; those wait for whoever is not in it.
std::optional<Finding> find_absence(Answers answers) {
  const std::optional<std::uint64_t> call = lowest_call(answers);
  if (!call) return std::nullopt;
  const Ranks absent = ranks_where(answers, [&](const Answer& one) {
    return one.answered && (!one.state.open || one.state.call < *call);
  });
  if (absent.empty()) return std::nullopt;
  const Ranks waiting = ranks_where(answers, [&](const Answer& one) {
    return one.answered && one.state.in_call() && one.state.call == *call;
  });
  const RankState& example = answers[waiting[0]].state;
  const RankState& first = answers[absent[0]].state;
  return Finding{
      {},
      ErrorKind::timeout,
      fmt::format("{} {} not entered call {} ({}) that {} {} in; {}{}", name_all(answers, absent),
                  verb(absent, "has", "have"), *call, describe_call(example), list_ranks(waiting),
                  verb(waiting, "waits", "wait"),
                  absent.size() == 1 ? "it " : fmt::format("rank {} ", absent[0]),
                  where_is(first))};
}

// A connection that carries nothing, between two ranks that both answered.
struct DeadPair {
  std::uint32_t from = 0, to = 0;
  std::string text;

  bool joins(std::uint32_t rank) const { return from == rank || to == rank; }
};

// Who is not in the call yet opens nothing, and is waited for in vain.
bool awaits(const Answer& one, std::uint32_t peer) {
  return std::any_of(one.state.dead.begin(), one.state.dead.end(),
                     [peer](const DeadLink& link) { return link.peer == peer && !link.is_open; });
}

std::vector<DeadPair> dead_pairs(Answers answers) {
  std::vector<DeadPair> pairs;
  const auto add = [&](std::uint32_t from, const DeadLink& link) {
    const std::uint32_t to = link.peer;
    if (to >= answers.size() || !answers[to].answered) return;
    if (!link.is_open && !awaits(answers[to], from)) return;
    // Both ends may say so; the first one's words do.
    const auto same = [&](const DeadPair& pair) { return pair.joins(from) && pair.joins(to); };
    if (std::none_of(pairs.begin(), pairs.end(), same)) pairs.push_back({from, to, link.text});
  };
  for (std::uint32_t rank = 0; rank < answers.size(); ++rank) {
    if (!answers[rank].answered) continue;
    for (const DeadLink& link : answers[rank].state.dead) add(rank, link);
  }
  return pairs;
}

// The rank that all of them lead to: it is cut off, or its cable is.
std::optional<std::uint32_t> shared_end(const std::vector<DeadPair>& pairs) {
  for (const std::uint32_t rank : {pairs[0].from, pairs[0].to}) {
    const auto joins = [rank](const DeadPair& pair) { return pair.joins(rank); };
    if (std::all_of(pairs.begin(), pairs.end(), joins)) return rank;
  }
  return std::nullopt;
}

std::string describe_dead(Answers answers, const std::vector<DeadPair>& pairs) {
  const std::optional<std::uint32_t> shared = shared_end(pairs);
  if (pairs.size() == 1) {
    return fmt::format("the connection between {} and {} carries nothing, though both live: {}",
                       answers[pairs[0].from].name, answers[pairs[0].to].name, pairs[0].text);
  }
  std::string text =
      fmt::format("{} connections carry nothing, though their ranks live", pairs.size());
  if (shared) {
    const Ranks others = ranks_where(answers, [&](const Answer& one) {
      const auto rank = static_cast<std::uint32_t>(&one - answers.data());
      return rank != *shared && std::any_of(pairs.begin(), pairs.end(),
                                            [&](const DeadPair& pair) { return pair.joins(rank); });
    });
    text = fmt::format("the connections between {} and {} carry nothing, though all of them live",
                       answers[*shared].name, list_ranks(others));
  }
  constexpr std::size_t named = 2;
  for (std::size_t i = 0; i < std::min(named, pairs.size()); ++i) {
    text += fmt::format("{} rank {} to rank {}: {}", i == 0 ? ":" : ";", pairs[i].from, pairs[i].to,
                        pairs[i].text);
  }
  if (pairs.size() > named) text += fmt::format("; and {} more", pairs.size() - named);
  return text;
}

// Comes before connections that broke: whoever gives one up closes its others.
std::optional<Finding> find_dead_path(Answers answers) {
  const std::vector<DeadPair> pairs = dead_pairs(answers);
  if (pairs.empty()) return std::nullopt;
  Finding finding{{}, ErrorKind::timeout, describe_dead(answers, pairs)};
  const std::optional<std::uint64_t> call = lowest_call(answers);
  if (!call) return finding;  // Point to point.
  const Ranks waiting = ranks_where(answers, [&](const Answer& one) {
    return one.answered && one.state.in_call() && one.state.call == *call;
  });
  finding.text +=
      fmt::format("; {} {} in call {} ({})", list_ranks(waiting), verb(waiting, "waits", "wait"),
                  *call, describe_call(answers[waiting[0]].state));
  return finding;
}

// Where the waiting starts: with the lowest rank that complains, else the lowest that waits.
std::optional<std::uint32_t> first_waiting(Answers answers, std::uint64_t call) {
  const auto waits = [&](const Answer& one) {
    return one.answered && one.state.in_call() && one.state.call == call &&
           one.state.waiting_for >= 0;
  };
  const Ranks complaining = ranks_where(answers, [&](const Answer& one) {
    return waits(one) && one.state.report.kind != ReportKind::none;
  });
  if (!complaining.empty()) return complaining[0];
  const Ranks waiting = ranks_where(answers, waits);
  if (waiting.empty()) return std::nullopt;
  return waiting[0];
}

// The chain ends at a rank that waits for nobody: busy, or through with the call.
Finding describe_end(Answers answers, const Ranks& chain, std::uint32_t end) {
  const RankState& start = answers[chain[0]].state;
  const Answer& last = answers[end];
  std::string text;
  if (!last.answered || last.state.call != start.call || !last.state.in_call()) {
    text = fmt::format("{} waits in call {} ({}) for {}, which {}: what it sent was lost",
                       answers[chain.back()].name, start.call, describe_call(start), last.name,
                       last.answered ? where_is(last.state) : "has left");
  } else {
    text = fmt::format("{} is busy in call {} ({}) and waits for nobody, while {} {} for it",
                       last.name, start.call, describe_call(start), list_ranks(chain),
                       verb(chain, "waits", "wait"));
  }
  return Finding{{}, ErrorKind::timeout, text};
}

// Point to point is on no board: all there is are the complaints.
Finding describe_complaint(Answers answers) {
  const Ranks complaining = ranks_where(answers, [&](const Answer& one) {
    return one.answered && one.state.report.kind == ReportKind::timeout &&
           static_cast<std::size_t>(one.state.report.peer) < answers.size();
  });
  if (complaining.empty()) {
    return Finding{{},
                   ErrorKind::timeout,
                   "a call took longer than the time-out, and nobody is in a call any more"};
  }
  const Answer& one = answers[complaining[0]];
  const Answer& other = answers[static_cast<std::size_t>(one.state.report.peer)];
  return Finding{{},
                 ErrorKind::timeout,
                 fmt::format("{} did nothing that {} waits for, longer than the time-out; it {}",
                             other.name, one.name, where_is(other.state))};
}

// All are in the call and all agree: either one is slow, or they wait in a circle.
Finding follow_waiting(Answers answers) {
  const std::optional<std::uint64_t> call = lowest_call(answers);
  const std::optional<std::uint32_t> start = call ? first_waiting(answers, *call) : std::nullopt;
  if (!start) {
    const Ranks busy =
        ranks_where(answers, [](const Answer& one) { return one.answered && one.state.in_call(); });
    if (busy.empty()) return describe_complaint(answers);
    const std::string who = list_ranks(busy) + " waited for nobody when asked";
    return Finding{{}, ErrorKind::timeout, "a call took longer than the time-out, and " + who};
  }
  Ranks chain{*start};
  while (true) {
    const RankState& state = answers[chain.back()].state;
    const auto next = static_cast<std::uint32_t>(state.waiting_for);
    if (next >= answers.size()) return describe_end(answers, chain, chain.back());
    const auto seen = std::find(chain.begin(), chain.end(), next);
    if (seen != chain.end()) {
      Ranks circle(seen, chain.end());
      std::sort(circle.begin(), circle.end());
      return Finding{{},
                     ErrorKind::timeout,
                     fmt::format("{} wait for each other in call {} ({}): a message was lost, or "
                                 "they run different plans",
                                 list_ranks(circle), *call, describe_call(state))};
    }
    const RankState& there = answers[next].state;
    const bool waits_on =
        answers[next].answered && there.in_call() && there.call == *call && there.waiting_for >= 0;
    if (!waits_on) return describe_end(answers, chain, next);
    chain.push_back(next);
  }
}

}  // namespace

Finding judge(std::span<const Answer> answers) {
  if (auto finding = find_silence(answers)) return *finding;
  if (auto finding = find_disagreement(answers)) return *finding;
  if (auto finding = find_departure(answers)) return *finding;
  if (auto finding = find_dead_path(answers)) return *finding;
  if (auto finding = find_report(answers, ReportKind::broken)) return *finding;
  if (auto finding = find_report(answers, ReportKind::mismatch)) return *finding;
  if (auto finding = find_absence(answers)) return *finding;
  return follow_waiting(answers);
}

}  // namespace accl::bootstrap
