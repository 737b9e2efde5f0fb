#include "topology/probing/classes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

namespace accl::topology {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t most_labels_shown = 6;

std::vector<std::string> words_of(const Hops& hops) {
  std::vector<std::string> words;
  for (const std::optional<Address>& hop : hops) words.push_back(hop ? text_of(*hop) : "*");
  return words;
}

std::string shown(const std::vector<std::uint16_t>& labels) {
  const std::size_t count = std::min(labels.size(), most_labels_shown);
  const std::span<const std::uint16_t> first(labels.data(), count);
  return fmt::format("{}{}", fmt::join(first, " "), count < labels.size() ? " ..." : "");
}

std::string print_pair(const PairPaths& pair) {
  std::size_t labels = 0;
  std::size_t width = 4;
  for (const PathClass& one : pair.classes) {
    labels += one.labels.size();
    width = std::max(width, fmt::format("{}", fmt::join(words_of(one.hops), " ")).size());
  }
  std::string text =
      fmt::format("{} to {}: {} {}, {} labels\n", text_of(pair.from), text_of(pair.to),
                  pair.classes.size(), pair.classes.size() == 1 ? "class" : "classes", labels);
  text += fmt::format("  {:>5}  {:<{}}  {:>6}\n", "class", "hops", width, "labels");
  for (std::size_t k = 0; k < pair.classes.size(); ++k) {
    const PathClass& one = pair.classes[k];
    const std::string hops = fmt::format("{}", fmt::join(words_of(one.hops), " "));
    text += fmt::format("  {:>5}  {:<{}}  {:>6}: {}\n", k, hops, width, one.labels.size(),
                        shown(one.labels));
  }
  return text;
}

// Distances, from 1, at which some class has no answer; with `in_all`, at which all have none.
std::vector<std::size_t> silent_hops(const PairPaths& pair, bool in_all) {
  std::vector<std::size_t> silent;
  std::size_t most = 0;
  for (const PathClass& one : pair.classes) most = std::max(most, one.hops.size());
  for (std::size_t k = 0; k < most; ++k) {
    const auto is_silent = [&](const PathClass& one) {
      return k < one.hops.size() && !one.hops[k];
    };
    const auto count = std::ranges::count_if(pair.classes, is_silent);
    const bool is_all = static_cast<std::size_t>(count) == pair.classes.size();
    if (in_all ? is_all : count > 0 && !is_all) silent.push_back(k + 1);
  }
  return silent;
}

}  // namespace

PairPaths classify(const Address& from, const Trace& trace) {
  std::map<Hops, std::vector<std::uint16_t>> classes;
  for (const LabelHops& one : trace.labels) classes[one.hops].push_back(one.label);
  PairPaths pair{.from = from, .to = trace.to, .classes = {}};
  for (auto& [hops, labels] : classes) {
    std::ranges::sort(labels);
    pair.classes.push_back({hops, std::move(labels)});
  }
  return pair;
}

std::string print_paths_json(std::span<const PairPaths> pairs) {
  std::string text = "{\"version\": 1, \"pairs\": [";
  const char* between = "\n";
  for (const PairPaths& pair : pairs) {
    text += fmt::format("{} {{\"from\": \"{}\", \"to\": \"{}\", \"classes\": [", between,
                        text_of(pair.from), text_of(pair.to));
    const char* inner = "\n";
    for (const PathClass& one : pair.classes) {
      const Json entry{{"hops", words_of(one.hops)}, {"labels", one.labels}};
      text += fmt::format("{}  {}", inner, entry.dump());
      inner = ",\n";
    }
    text += "]}";
    between = ",\n";
  }
  return text + "\n]}\n";
}

std::string print_paths(std::span<const PairPaths> pairs) {
  std::string text;
  for (const PairPaths& pair : pairs) {
    if (!text.empty()) text += '\n';
    text += print_pair(pair);
  }
  return text;
}

std::string print_doubts(const PairPaths& pair, const Trace& trace) {
  const std::string ways = fmt::format("{} to {}: ", text_of(pair.from), text_of(pair.to));
  std::string text;
  if (!trace.has_answered) {
    text += ways + "the other end does not answer; its distance is that of the last router and 1\n";
  }
  if (trace.refused > 0) {
    text += fmt::format("{}{} labels are left out: a router on their way knows none further\n",
                        ways, trace.refused);
  }
  if (trace.undecided > 0) {
    text += fmt::format(
        "{}time was up before {} labels were known, and they are left out; give "
        "more --seconds or fewer --labels\n",
        ways, trace.undecided);
  }
  const bool has_hops = !pair.classes.empty() && !pair.classes.front().hops.empty();
  if (pair.classes.size() == 1 && !has_hops) {
    text += ways +
            "no router is in between, so nothing tells labels apart here; switches of layer "
            "2 that choose among cables cannot be seen\n";
  } else if (pair.classes.size() == 1) {
    text += ways + "all labels pass the same routers: nothing tells them apart here\n";
  }
  for (const std::size_t hop : silent_hops(pair, true)) {
    text += fmt::format("{}no router at hop {} answers; ways that differ there only look alike\n",
                        ways, hop);
  }
  for (const std::size_t hop : silent_hops(pair, false)) {
    text += fmt::format("{}some routers at hop {} do not answer; they look alike\n", ways, hop);
  }
  return text;
}

}  // namespace accl::topology
