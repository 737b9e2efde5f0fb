// advice.cc - which engines work was seen with OpenSM 3.3.23 over ibsim; the test ibsim_loop runs
// the same.
#include "topology/cabling/advice.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace accl::topology {
namespace {

// Two switches of each layer of the first plane, both with NICs: where a cycle of credits closes.
struct Square {
  std::string upper[2];
  std::string lower[2];
};

std::optional<Square> find_square(const Fabric& fabric) {
  std::vector<bool> has_nics(fabric.switches.size());
  for (const Nic& nic : fabric.nics) has_nics[index(nic.at)] = true;
  Square square;
  std::size_t uppers = 0;
  std::size_t lowers = 0;
  for (std::size_t i = 0; i < fabric.switches.size(); ++i) {
    const Switch& one = fabric.switches[i];
    if (!has_nics[i] || one.plane != 0) continue;
    if (one.side == Side::upper && uppers < 2) square.upper[uppers++] = one.name;
    if (one.side == Side::lower && lowers < 2) square.lower[lowers++] = one.name;
  }
  if (uppers < 2 || lowers < 2) return {};
  return square;
}

void advise_bigraph(const Fabric& fabric, std::vector<Advice>& advice) {
  advice.push_back(
      {"InfiniBand",
       "start OpenSM with -R dfsssp or -R lash. -R ftree and -R updn find no single layer of roots "
       "in a BiGraph; both then fall back to minhop with no more than a line in the log. minhop "
       "routes well (pairs of different layers take their direct cable) but can deadlock, see "
       "below."});
  if (const auto square = find_square(fabric)) {
    advice.push_back(
        {"deadlock",
         fmt::format(
             "traffic between two switches of one layer goes over the other layer. Four such "
             "detours ({0} > {2} > {1}, {2} > {1} > {3}, {1} > {3} > {0}, {3} > {0} > {2}) "
             "can wait for each other's buffers in a circle, and then a lossless fabric "
             "with one virtual lane or one priority stops for good. Halving-doubling under "
             "the rank map never goes that way, but storage, alltoall and start-up do.",
             square->upper[0], square->upper[1], square->lower[0], square->lower[1])});
    advice.push_back(
        {"RoCE",
         "give traffic that starts at the upper layer and traffic that starts at the lower layer "
         "two different lossless priorities (PFC on both, one DSCP each): inside one priority no "
         "circle can close. Without two priorities, forbid the detour of one layer. Route by the "
         "direct cable where there is one; pairs of different layers need no ECMP but between "
         "parallel cables."});
  }
}

void advise_leaf_spine(std::vector<Advice>& advice) {
  advice.push_back({"InfiniBand",
                    "-R ftree or -R updn suit a leaf-spine; every path goes up once and down once, "
                    "so no circle of credits can close, with minhop neither."});
  advice.push_back(
      {"RoCE",
       "one lossless priority is enough. ECMP chooses spines by a hash, and flows that "
       "meet on one share it: switch adaptive routing on, or give every connection "
       "several queue pairs, and keep the ranks of a leaf together."});
}

void advise_graph(std::vector<Advice>& advice) {
  advice.push_back({"InfiniBand",
                    "the shape is not known to be free of circles of credits: start OpenSM with "
                    "-R dfsssp or -R lash, which give circles virtual lanes of their own."});
  advice.push_back({"RoCE",
                    "check the routes for circles before priorities become lossless; where there "
                    "is one, the traffic that closes it needs a second priority."});
}

void warn_of_failures(const Fabric& fabric, std::vector<Advice>& advice) {
  const auto is_at_one = [&](const Server& server) {
    return std::ranges::all_of(server.nics, [&](NicId nic) {
      return fabric.at(nic).at == fabric.at(server.nics.front()).at;
    });
  };
  const auto lonely = std::ranges::count_if(fabric.servers, is_at_one);
  if (lonely > 0) {
    const auto first = std::ranges::find_if(fabric.servers, is_at_one);
    advice.push_back({"single rail",
                      fmt::format("{} of {} servers have all their NICs at one switch ({} at {}); "
                                  "when it dies they are gone. Give servers NICs at two switches.",
                                  lonely, fabric.servers.size(), first->name,
                                  fabric.at(fabric.at(first->nics.front()).at).name)});
  }
  if (fabric.planes < 2) return;
  advice.push_back(
      {"planes", fmt::format("no cable joins the {} planes: a NIC reaches only NICs of its own "
                             "plane, and data for another must cross inside a server. Give jobs "
                             "whole servers.",
                             fabric.planes)});
}

std::string wrapped(const std::string& text) {
  constexpr std::size_t columns = 100;
  std::string lines;
  std::size_t used = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    const bool is_new = used > 0 && used + 1 + end - at > columns;
    if (is_new) lines += "\n  ";
    if (used > 0 && !is_new) lines += ' ';
    lines += text.substr(at, end - at);
    used = (is_new ? 2 : used + (used > 0 ? 1 : 0)) + end - at;
    at = end + 1;
  }
  return lines + '\n';
}

}  // namespace

std::vector<Advice> advice_for(const Fabric& fabric) {
  std::vector<Advice> advice;
  switch (fabric.kind) {
    case FabricKind::bigraph:
      advise_bigraph(fabric, advice);
      break;
    case FabricKind::leaf_spine:
      advise_leaf_spine(advice);
      break;
    case FabricKind::graph:
      advise_graph(advice);
      break;
  }
  warn_of_failures(fabric, advice);
  return advice;
}

std::string text_of(const std::vector<Advice>& advice) {
  std::string text;
  for (const Advice& piece : advice) text += wrapped(piece.topic + ": " + piece.text);
  return text;
}

}  // namespace accl::topology
