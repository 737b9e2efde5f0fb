#include "algorithms/selection.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <limits>
#include <sstream>

#include "accl/base/assert.h"
#include "accl/base/error.h"
#include "accl/base/units.h"
#include "algorithms/catalog.h"
#include "algorithms/default_table.h"

namespace accl {
namespace {

constexpr std::uint32_t most_ranks = 1u << 20;

std::uint32_t parse_count(std::string_view text, const std::string& where) {
  std::uint32_t value = 0;
  const auto [stop, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc{} || stop != text.data() + text.size()) {
    fail(ErrorKind::invalid_argument, "{}: '{}' is no whole number", where, text);
  }
  return value;
}

}  // namespace

SelectionTable::Rule SelectionTable::parse_rule(std::string_view line, const std::string& where) {
  std::istringstream words{std::string(line)};
  std::string collective, ranks, bytes, transport, algorithm, slice, in_flight, more;
  words >> collective >> ranks >> bytes >> transport >> algorithm >> slice >> in_flight;
  if (!words || words >> more) {
    fail(ErrorKind::invalid_argument,
         "{}: a rule is 'collective from-to bytes transport algorithm slice in-flight'", where);
  }
  const auto found = collective_named(collective);
  if (!found) fail(ErrorKind::invalid_argument, "{}: no collective '{}'", where, collective);
  if (find_algorithm(*found, algorithm) == nullptr) {
    fail(ErrorKind::invalid_argument, "{}: {} has no algorithm '{}'; it has {}", where, collective,
         algorithm, algorithm_names(*found));
  }
  const std::size_t dash = ranks.find('-');
  if (dash == std::string::npos) {
    fail(ErrorKind::invalid_argument, "{}: write ranks as from-to, not '{}'", where, ranks);
  }
  Rule rule{.collective = *found, .transport = transport, .choice = {.algorithm = algorithm}};
  const std::string_view range = ranks;
  rule.least_ranks = parse_count(range.substr(0, dash), where);
  rule.most_ranks =
      range.substr(dash + 1) == "max" ? most_ranks : parse_count(range.substr(dash + 1), where);
  rule.most_bytes =
      bytes == "max" ? std::numeric_limits<std::uint64_t>::max() : parse_bytes(bytes, where);
  if (bytes != "max" && !std::has_single_bit(rule.most_bytes)) {
    fail(ErrorKind::invalid_argument, "{}: bytes is a power of two or max, not {}", where, bytes);
  }
  rule.choice.slice_bytes = static_cast<std::uint32_t>(parse_bytes(slice, where));
  rule.choice.in_flight = parse_count(in_flight, where);
  if (rule.choice.in_flight < 1 || rule.choice.in_flight > 4) {
    fail(ErrorKind::invalid_argument, "{}: in-flight is 1 to 4, not {}", where, in_flight);
  }
  return rule;
}

SelectionTable SelectionTable::parse(std::string_view text, std::string_view name) {
  SelectionTable table;
  table.text_ = text;
  std::istringstream lines{table.text_};
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    line = line.substr(0, line.find('#'));
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    table.rules_.push_back(parse_rule(line, fmt::format("{}:{}", name, number)));
  }
  table.check_complete(name);
  return table;
}

void SelectionTable::check_complete(std::string_view name) const {
  for (const Algorithm& algorithm : algorithms()) {
    const Collective collective = algorithm.collective;
    const bool has_last = std::ranges::any_of(rules_, [&](const Rule& rule) {
      return rule.collective == collective && rule.least_ranks <= 2 &&
             rule.most_ranks == most_ranks && rule.transport == "any" &&
             rule.most_bytes == std::numeric_limits<std::uint64_t>::max();
    });
    if (!has_last) {
      fail(ErrorKind::invalid_argument,
           "{}: {} needs a last rule for ranks 2-max, bytes max, transport any", name,
           name_of(collective));
    }
  }
}

const SelectionTable& SelectionTable::built_in() {
  static const SelectionTable table = parse(default_table, "the built-in selection table");
  return table;
}

bool SelectionTable::matches(const Rule& rule, Collective collective, std::uint32_t ranks,
                             std::uint64_t bytes, std::string_view transport) {
  return rule.collective == collective && ranks >= rule.least_ranks && ranks <= rule.most_ranks &&
         bytes <= rule.most_bytes && (rule.transport == "any" || rule.transport == transport);
}

const Choice& SelectionTable::choose(Collective collective, std::uint32_t ranks,
                                     std::uint64_t bytes, std::string_view transport) const {
  const auto rule = std::ranges::find_if(rules_, [&](const Rule& candidate) {
    return matches(candidate, collective, std::max(ranks, 2u), bytes, transport);
  });
  ACCL_ASSERT(rule != rules_.end(), name_of(collective), ranks, bytes);
  return rule->choice;
}

Choice SelectionTable::settings_for(std::string_view algorithm, Collective collective,
                                    std::uint32_t ranks, std::uint64_t bytes,
                                    std::string_view transport) const {
  for (const Rule& rule : rules_) {
    if (rule.choice.algorithm != algorithm) continue;
    if (matches(rule, collective, ranks, bytes, transport)) return rule.choice;
  }
  Choice choice = choose(collective, ranks, bytes, transport);
  choice.algorithm = algorithm;
  return choice;
}

}  // namespace accl
