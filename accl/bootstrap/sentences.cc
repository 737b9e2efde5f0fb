#include <algorithm>
#include <map>

#include "accl/bootstrap/council.h"

namespace accl::bootstrap {
namespace {

constexpr std::size_t named = 8;

std::string_view fate(Gone how, std::size_t ranks) {
  if (how == Gone::died) return "died";
  if (how == Gone::left || how == Gone::vanished) return "left the job";
  return ranks == 1 ? "does not answer: stopped or cut off" : "do not answer: stopped or cut off";
}

std::string join_names(const std::vector<std::string>& names) {
  std::string text;
  const std::size_t shown = std::min(names.size(), named);
  for (std::size_t i = 0; i < shown; ++i) {
    const bool last = i + 1 == names.size();
    if (i > 0) text += last ? " and " : ", ";
    text += names[i];
  }
  if (shown < names.size()) text += fmt::format(" and {} more", names.size() - shown);
  return text;
}

}  // namespace

std::string label(const Member& member, std::uint32_t position) {
  const std::uint32_t rank = index(member.rank);
  const std::string world = rank == position ? "" : fmt::format("world rank {}, ", rank);
  return fmt::format("rank {} ({}host {}, pid {})", position, world, member.host, member.pid);
}

std::string process_sentence(const Verdict& verdict, std::span<const std::uint32_t> ranks,
                             std::span<const Member> members) {
  std::map<Gone, std::vector<std::string>, std::greater<>> by_fate;  // Deaths first.
  for (const auto& [rank, how] : verdict.processes) {
    const auto found = std::find(ranks.begin(), ranks.end(), rank);
    if (found == ranks.end() || rank >= members.size()) continue;
    const auto position = static_cast<std::uint32_t>(found - ranks.begin());
    by_fate[how].push_back(label(members[rank], position));
  }
  std::string text;
  for (const auto& [how, names] : by_fate) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", and ", join_names(names),
                        fate(how, names.size()));
  }
  return text;
}

}  // namespace accl::bootstrap
