#include "topology/fabric/seen_paths.h"

#include <fmt/format.h>

#include <algorithm>

#include "accl/base/error.h"
#include "accl/base/text_file.h"
#include "topology/fabric/lines.h"

namespace accl::topology {
namespace {

std::uint64_t pair_of(NicId from, NicId to) { return std::uint64_t{index(from)} << 32 | index(to); }

std::vector<std::string_view> words_of(std::string_view line) {
  constexpr std::string_view blanks = " \t\r";
  std::vector<std::string_view> words;
  while (!line.empty()) {
    const std::size_t end = std::min(line.find_first_of(blanks), line.size());
    words.push_back(line.substr(0, end));
    line.remove_prefix(std::min(line.find_first_not_of(blanks, end), line.size()));
  }
  return words;
}

struct SeenPath {
  NicId from{};
  NicId to{};
  std::vector<LinkId> links;
};

// Reads line by line; complains with file and line.
class Reader {
 public:
  Reader(const Fabric& fabric, const Condition& condition, const std::string& path);

  SeenPath read(int line, std::string_view text);
  template <class... Values>
  [[noreturn]] void complain(fmt::format_string<Values...> form, Values&&... values) const {
    fail(ErrorKind::invalid_argument, "{}:{}: {}", path_, line_,
         fmt::format(form, std::forward<Values>(values)...));
  }

 private:
  NicId nic(std::string_view word) const;
  SwitchId switch_named(std::string_view word) const;
  bool is_switch(std::string_view word) const { return switches_.contains(std::string(word)); }
  void check_end(NicId nic, SwitchId at, std::string_view place) const;
  std::vector<LinkId> between(std::span<const std::string_view> words) const;
  LinkId hop(SwitchId from, SwitchId to, std::string_view cable) const;
  LinkId only(SwitchId from, SwitchId to, std::span<const LinkId> links) const;
  const std::string& name(SwitchId id) const { return fabric_.at(id).name; }
  const std::string& name(NicId id) const { return fabric_.graph.node(fabric_.at(id).node).name; }

  const Fabric& fabric_;
  const Condition& condition_;
  const std::string& path_;
  int line_ = 0;
  std::unordered_map<std::string, NicId> nics_;
  std::unordered_map<std::string, SwitchId> switches_;
};

Reader::Reader(const Fabric& fabric, const Condition& condition, const std::string& path)
    : fabric_(fabric), condition_(condition), path_(path) {
  for (std::uint32_t i = 0; i < fabric.nics.size(); ++i) nics_[name(NicId{i})] = NicId{i};
  for (std::uint32_t i = 0; i < fabric.switches.size(); ++i) {
    switches_[name(SwitchId{i})] = SwitchId{i};
  }
}

NicId Reader::nic(std::string_view word) const {
  const auto found = nics_.find(std::string(word));
  if (found != nics_.end()) return found->second;
  complain("'{}' is no NIC of {}; a line starts with two, such as {}", printable(word),
           fabric_.name, name(NicId{0}));
}

SwitchId Reader::switch_named(std::string_view word) const {
  const auto found = switches_.find(std::string(word));
  if (found != switches_.end()) return found->second;
  complain(
      "'{}' is no switch of {}, nor a cable between two that are named; switches are called such "
      "as {}, cables {}",
      printable(word), fabric_.name, name(SwitchId{0}), label_of(CableId{0}));
}

void Reader::check_end(NicId nic, SwitchId at, std::string_view place) const {
  const Nic& end = fabric_.at(nic);
  if (end.at != at) {
    complain("{} is at {}, but the {} switch is {}; name all switches that were passed, in order",
             name(nic), name(end.at), place, name(at));
  }
  if (condition_.is_dead(end.cable)) {
    complain("the cable {} of {} is dead; take it off the dead ones, or this line out",
             label_of(end.cable), name(nic));
  }
}

LinkId Reader::only(SwitchId from, SwitchId to, std::span<const LinkId> links) const {
  if (links.size() == 1) return links.front();
  std::string labels;
  for (const LinkId link : links) {
    labels += (labels.empty() ? "" : ", ") + label_of(fabric_.cable_of(link));
  }
  complain("{} cables join {} and {}; put the right one between them: {}", links.size(), name(from),
           name(to), labels);
}

// `cable`: empty where the file names none.
LinkId Reader::hop(SwitchId from, SwitchId to, std::string_view cable) const {
  std::vector<LinkId> alive;
  bool is_joined = false;
  for (const LinkId link : fabric_.graph.leaving(fabric_.at(from).node)) {
    const CableId id = fabric_.cable_of(link);
    const bool is_meant = cable.empty() || label_of(id) == cable;
    if (fabric_.graph.link(link).to != fabric_.at(to).node || !is_meant) continue;
    is_joined = true;
    if (!condition_.is_dead(id)) alive.push_back(link);
  }
  const std::string what = cable.empty() ? "no cable joins" : printable(cable) + " does not join";
  if (!is_joined) complain("{} {} and {}; name all switches, in order", what, name(from), name(to));
  if (alive.empty()) {
    complain(
        "every cable that could be meant between {} and {} is dead; take it off the dead "
        "ones, or this line out",
        name(from), name(to));
  }
  return only(from, to, alive);
}

// Switches, and between two of them the cable where that is not clear.
std::vector<LinkId> Reader::between(std::span<const std::string_view> words) const {
  std::vector<SwitchId> passed{switch_named(words.front())};
  std::vector<LinkId> links;
  for (std::size_t i = 1; i < words.size(); ++i) {
    const bool has_cable = !is_switch(words[i]) && i + 1 < words.size();
    const std::string_view cable = has_cable ? words[i++] : std::string_view();
    const SwitchId next = switch_named(words[i]);
    if (std::ranges::find(passed, next) != passed.end()) complain("passes {} twice", name(next));
    links.push_back(hop(passed.back(), next, cable));
    passed.push_back(next);
  }
  return links;
}

SeenPath Reader::read(int line, std::string_view text) {
  line_ = line;
  const std::vector<std::string_view> words = words_of(text);
  if (words.size() < 3) {
    complain("a path is two NICs and the switches between them, such as '{} {} {}'", name(NicId{0}),
             name(NicId{1}), name(SwitchId{0}));
  }
  SeenPath seen{.from = nic(words[0]), .to = nic(words[1]), .links = {}};
  if (seen.from == seen.to) complain("{} needs no path to itself", name(seen.from));
  const auto way = std::span(words).subspan(2);
  check_end(seen.from, switch_named(way.front()), "first");
  seen.links = between(way);
  check_end(seen.to, switch_named(way.back()), "last");
  seen.links.insert(seen.links.begin(), fabric_.at(fabric_.at(seen.from).cable).link);
  seen.links.push_back(reverse(fabric_.at(fabric_.at(seen.to).cable).link));
  return seen;
}

}  // namespace

SeenPaths SeenPaths::parse(const Fabric& fabric, const Condition& condition, std::string_view text,
                           const std::string& path) {
  SeenPaths paths;
  Reader reader(fabric, condition, path);
  std::unordered_map<std::uint64_t, int> lines;
  for_each_line(text, [&](int line, std::string_view content) {
    SeenPath seen = reader.read(line, content);
    const std::uint64_t pair = pair_of(seen.from, seen.to);
    const auto [known, is_new] = lines.try_emplace(pair, line);
    if (!is_new) reader.complain("this flow has a path in line {} already", known->second);
    paths.paths_[pair] = std::move(seen.links);
  });
  return paths;
}

SeenPaths SeenPaths::load(const Fabric& fabric, const Condition& condition,
                          const std::string& path) {
  return parse(fabric, condition, read_text(path, max_list_bytes), path);
}

std::span<const LinkId> SeenPaths::find(NicId from, NicId to) const {
  const auto found = paths_.find(pair_of(from, to));
  return found == paths_.end() ? std::span<const LinkId>() : found->second;
}

}  // namespace accl::topology
