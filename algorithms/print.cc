#include "algorithms/print.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>

#include "accl/base/assert.h"
#include "algorithms/verify_parts.h"

namespace accl {
namespace {

std::string print_slice(const Slice& slice) {
  static constexpr std::array names{"input", "output", "scratch"};
  const char* name = names[static_cast<std::size_t>(slice.buffer)];
  if (slice.count == 1) return fmt::format("{}[{}]", name, slice.chunk);
  return fmt::format("{}[{}..{}]", name, slice.chunk, slice.chunk + slice.count - 1);
}

// A message arrives one round after its sender got so far; rounds is when the last one does.
std::uint32_t count_rounds(const PlanSet& plan) {
  verify::Wiring wiring;
  std::vector<verify::At> order;
  const auto unpaired = verify::find_pairing_fault(plan, wiring);
  ACCL_ASSERT(!unpaired, unpaired.value_or(""));
  const auto stuck = verify::find_progress_fault(plan, wiring, order);
  ACCL_ASSERT(!stuck, stuck.value_or(""));
  std::vector<std::uint32_t> clocks(plan.positions.size());
  std::vector<std::uint32_t> arrivals(wiring.channels.size());  // Of the one message under way.
  for (const verify::At& at : order) {
    const Step& step = plan.positions[at.position][at.step];
    if (!verify::is_message(step)) continue;
    std::uint32_t& clock = clocks[at.position];
    std::uint32_t& arrival = arrivals[wiring.channel_of[at.position][at.step]];
    if (step.kind == Step::Kind::send) {
      arrival = clock + 1;
    } else {
      clock = std::max(clock, arrival);
    }
  }
  return *std::ranges::max_element(clocks);
}

}  // namespace

Cost cost_of(const PlanSet& plan) {
  Cost cost;
  cost.rounds = count_rounds(plan);
  for (const std::vector<Step>& steps : plan.positions) {
    Traffic sent;
    Traffic reduced;
    for (const Step& step : steps) {
      if (step.kind == Step::Kind::copy || step.kind == Step::Kind::recv) continue;
      Traffic& traffic = step.kind == Step::Kind::send ? sent : reduced;
      ++traffic.messages;
      traffic.chunks += step.source.count;
    }
    cost.sent.push_back(sent);
    cost.reduced.push_back(reduced);
  }
  return cost;
}

Traffic busiest(const std::vector<Traffic>& positions) {
  Traffic most;
  for (const Traffic& each : positions) {
    most.messages = std::max(most.messages, each.messages);
    most.chunks = std::max(most.chunks, each.chunks);
  }
  return most;
}

std::string fraction_of_vector(std::uint64_t chunks, std::uint32_t all_chunks) {
  if (chunks == 0) return "0";
  const std::uint64_t common = std::gcd(chunks, std::uint64_t{all_chunks});
  const std::uint64_t above = chunks / common;
  const std::uint64_t below = all_chunks / common;
  if (below > 1) return fmt::format("{}/{} D", above, below);
  return above == 1 ? "D" : fmt::format("{} D", above);
}

std::string print_step(const Step& step) {
  switch (step.kind) {
    case Step::Kind::copy:
      return fmt::format("copy {} = {}", print_slice(step.target), print_slice(step.source));
    case Step::Kind::reduce:
      return fmt::format("reduce {} = {} + {}", print_slice(step.target), print_slice(step.source),
                         print_slice(step.other));
    case Step::Kind::send:
      return fmt::format("send {} to {} as {}", print_slice(step.source), index(step.peer),
                         print_slice(step.target));
    case Step::Kind::recv:
      return fmt::format("recv {} from {}", print_slice(step.target), index(step.peer));
  }
  return {};
}

std::string print_steps(const std::vector<Step>& steps) {
  std::string text;
  for (std::size_t number = 0; number < steps.size(); ++number) {
    text += fmt::format("{:5}  {}\n", number, print_step(steps[number]));
  }
  return text;
}

std::string print_plan(const PlanSet& plan) {
  std::string text = fmt::format("{} over {} positions, {} chunk{}\n", name_of(plan.collective),
                                 plan.shape.size, plan.chunks, plan.chunks == 1 ? "" : "s");
  for (std::size_t position = 0; position < plan.positions.size(); ++position) {
    text += fmt::format("position {}\n", position) + print_steps(plan.positions[position]);
  }
  return text;
}

std::string print_summary(const PlanSet& plan) {
  const Cost cost = cost_of(plan);
  const Traffic most = busiest(cost.sent);
  std::string text = fmt::format(
      "{} over {} positions: {} round{}, at most {} message{} and {} sent by a position\n",
      name_of(plan.collective), plan.shape.size, cost.rounds, cost.rounds == 1 ? "" : "s",
      most.messages, most.messages == 1 ? "" : "s", fraction_of_vector(most.chunks, plan.chunks));
  text += fmt::format("{:>8} {:>6} {:>9} {:>10} {:>10}\n", "position", "steps", "messages", "sends",
                      "reduces");
  for (std::size_t position = 0; position < plan.positions.size(); ++position) {
    text += fmt::format("{:>8} {:>6} {:>9} {:>10} {:>10}\n", position,
                        plan.positions[position].size(), cost.sent[position].messages,
                        fraction_of_vector(cost.sent[position].chunks, plan.chunks),
                        fraction_of_vector(cost.reduced[position].chunks, plan.chunks));
  }
  return text;
}

std::string print_traffic(const PlanSet& plan) {
  const std::size_t size = plan.positions.size();
  std::string text = fmt::format("{:>7}", "from\\to");
  for (std::size_t to = 0; to < size; ++to) text += fmt::format(" {:>10}", to);
  text += '\n';
  for (std::size_t from = 0; from < size; ++from) {
    std::vector<Traffic> row(size);
    for (const Step& step : plan.positions[from]) {
      if (step.kind != Step::Kind::send) continue;
      ++row[index(step.peer)].messages;
      row[index(step.peer)].chunks += step.source.count;
    }
    text += fmt::format("{:>7}", from);
    for (const Traffic& traffic : row) {
      const std::string volume = fraction_of_vector(traffic.chunks, plan.chunks);
      const std::string cell = fmt::format("{}x {}", traffic.messages, volume);
      text += fmt::format(" {:>10}", traffic.messages == 0 ? "." : cell);
    }
    text += '\n';
  }
  return text;
}

}  // namespace accl
