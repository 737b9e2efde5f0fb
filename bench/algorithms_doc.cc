// accl-algorithms-doc - writes docs/algorithms.md from the plans themselves: what each algorithm
// is, its rounds and volumes, and who sends to whom. Run it again whenever the catalog changes:
//   accl-algorithms-doc > docs/algorithms.md
#include <fmt/format.h>

#include <cstdio>
#include <string>

#include "algorithms/print.h"

namespace accl {
namespace {

constexpr std::string_view introduction = R"(# Algorithms

This page is generated from the plans by `accl-algorithms-doc`; do not edit it.

A plan says what each position does, in terms of chunks of the vector; `accl-perf COLLECTIVE
--algo NAME --ranks N --explain` prints any of them. Every plan below is proven by the verifier for
1 to 64 positions and for samples up to 4096: it does what the collective promises, in place and out
of place, with one message under way between any two positions, and every position of an allreduce
adds in the same order, so that results are identical to the bit.

D is the whole vector (of alltoall: all blocks of one position). *Rounds* is the longest chain of
messages that each wait for the one before. *Messages* and *sent* are those of the busiest position.
)";

// Two hosts for what knows of hosts.
Shape shape_of(const Algorithm& algorithm, std::uint32_t size) {
  Shape shape{.size = size};
  if (algorithm.name == "twolevel") shape.width = size / 2;
  return shape;
}

std::string row(const Algorithm& algorithm, std::uint32_t size) {
  const Shape shape = shape_of(algorithm, size);
  if (!algorithm.fits(shape)) return fmt::format("| {} | not defined | | |\n", size);
  const PlanSet plan = make_plan_set(algorithm, shape);
  const Cost cost = cost_of(plan);
  const Traffic most = busiest(cost.sent);
  return fmt::format("| {} | {} | {} | {} |\n", size, cost.rounds, most.messages,
                     fraction_of_vector(most.chunks, plan.chunks));
}

std::string section(const Algorithm& algorithm) {
  std::string text = fmt::format("### {} {}\n\n{}.\n\n", name_of(algorithm.collective),
                                 algorithm.name, algorithm.brief);
  text += "| positions | rounds | messages | sent |\n|---|---|---|---|\n";
  for (const std::uint32_t size : {6U, 7U, 8U}) text += row(algorithm, size);
  const Shape four = shape_of(algorithm, 4);
  const std::string hosts = four.width > 1 ? ", in hosts of 2" : "";
  text += fmt::format("\nWho sends to whom, 4 positions{}:\n\n```\n", hosts);
  text += print_traffic(make_plan_set(algorithm, four));
  text += "```\n\nWhat position 1 does there:\n\n```\n";
  text += print_steps(make_steps(algorithm, four, Position{1}));
  return text + "```\n\n";
}

std::string page() {
  std::string text(introduction);
  Collective last = Collective::barrier;
  for (const Algorithm& algorithm : algorithms()) {
    if (&algorithm == algorithms().data() || algorithm.collective != last) {
      last = algorithm.collective;
      text += fmt::format("\n## {}\n\nNames: {}.\n\n", name_of(last), algorithm_names(last));
    }
    text += section(algorithm);
  }
  while (text.ends_with("\n\n")) text.pop_back();
  return text;
}

}  // namespace
}  // namespace accl

int main(int argc, char**) {
  if (argc > 1) {
    std::fputs("accl-algorithms-doc takes no arguments; it writes markdown to its output\n",
               stderr);
    return 2;
  }
  std::fputs(accl::page().c_str(), stdout);
  return std::fflush(stdout) == 0 ? 0 : 2;
}
