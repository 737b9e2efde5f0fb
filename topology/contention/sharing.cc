#include "topology/contention/sharing.h"

#include <algorithm>
#include <limits>

namespace accl::topology {
namespace {

constexpr double rounding = 1e-9;  // Relative: offers that differ less are one.
constexpr double unlimited = std::numeric_limits<double>::infinity();
constexpr std::uint32_t no_number = 0xFFFF'FFFF;

}  // namespace

Sharing::Sharing(const Fabric& fabric, bool switches_are_free)
    : fabric_(fabric),
      switches_are_free_(switches_are_free),
      number_(fabric.graph.links().size(), no_number) {}

void Sharing::add(std::uint32_t flow, std::span<const LinkId> path, const Turn& turn) {
  if (flow >= flows_.size()) flows_.resize(flow + 1);
  flows_[flow] = {.path = path, .turn = turn, .rate = 0, .is_active = true};
  for (const LinkId link : path) {
    std::uint32_t& number = number_[index(link)];
    if (number == no_number) {
      number = static_cast<std::uint32_t>(links_.size());
      const bool is_free = switches_are_free_ && fabric_.at(fabric_.cable_of(link)).joins_switches;
      links_.push_back({});
      links_.back().capacity = is_free ? unlimited : fabric_.graph.link(link).bytes_per_second;
    }
    links_[number].flows.push_back(flow);
  }
}

void Sharing::remove(std::uint32_t flow) { flows_[flow].is_active = false; }

// Adds the active flows of a link that are not there yet.
void Sharing::visit(LinkState& link, std::vector<std::uint32_t>& reached) {
  for (const std::uint32_t flow : link.flows) {
    if (!flows_[flow].is_active || flows_[flow].is_visited) continue;
    flows_[flow].is_visited = true;
    reached.push_back(flow);
  }
}

std::vector<std::uint32_t> Sharing::joined(std::span<const std::uint32_t> changed) {
  std::vector<std::uint32_t> reached(changed.begin(), changed.end());
  std::vector<LinkState*> visited;
  for (const std::uint32_t flow : reached) flows_[flow].is_visited = true;
  for (std::size_t next = 0; next < reached.size(); ++next) {
    for (const LinkId link : flows_[reached[next]].path) {
      LinkState& state = at(link);
      if (state.is_visited || state.capacity == unlimited) continue;
      state.is_visited = true;
      visited.push_back(&state);
      visit(state, reached);
    }
  }
  for (const std::uint32_t flow : reached) flows_[flow].is_visited = false;
  for (LinkState* const state : visited) state->is_visited = false;
  std::erase_if(reached, [&](std::uint32_t flow) { return !flows_[flow].is_active; });
  return reached;
}

void Sharing::fix(std::uint32_t flow, double rate) {
  flows_[flow].rate = rate;
  flows_[flow].is_fixed = true;
  for (const LinkId link : flows_[flow].path) {
    LinkState& state = at(link);
    state.left = std::max(0.0, state.left - rate);
    if (--state.growing > 0) offer(number_[index(link)]);
  }
}

void Sharing::start_growing(std::span<const std::uint32_t> flows) {
  std::vector<std::uint32_t> links;
  for (const std::uint32_t flow : flows) {
    flows_[flow].is_fixed = false;
    for (const LinkId link : flows_[flow].path) {
      if (at(link).growing++ == 0) links.push_back(number_[index(link)]);
    }
  }
  for (const std::uint32_t link : links) offer(link);
}

// Of what is left of their links.
void Sharing::share_rest(std::span<const std::uint32_t> flows) {
  start_growing(flows);
  while (!offers_.empty()) {
    const auto [rate, link] = offers_.top();
    offers_.pop();
    const LinkState& state = links_[link];
    if (state.growing == 0 || rate < state.left / state.growing * (1 - rounding)) continue;
    for (const std::uint32_t flow : state.flows) {
      if (!flows_[flow].is_fixed) fix(flow, rate);
    }
  }
}

void Sharing::share(std::span<const std::uint32_t> flows) {
  for (const std::uint32_t flow : flows) {
    for (const LinkId link : flows_[flow].path) {
      LinkState& state = at(link);
      state.left = state.capacity;
      std::erase_if(state.flows, [&](std::uint32_t other) { return !flows_[other].is_active; });
    }
  }
  // By place in the line of their sender: all first ones, then all second ones.
  std::vector<std::uint32_t> in_turn(flows.begin(), flows.end());
  const auto turn = [&](std::uint32_t flow) { return flows_[flow].turn; };
  std::ranges::sort(in_turn, {}, turn);
  std::vector<std::vector<std::uint32_t>> places;
  std::size_t place = 0;
  for (std::size_t i = 0; i < in_turn.size(); ++i) {
    const Turn own = turn(in_turn[i]);
    const Turn before = i > 0 ? turn(in_turn[i - 1]) : own;
    place = own.sender != before.sender ? 0 : place + (own.number != before.number);
    if (places.size() <= place) places.resize(place + 1);
    places[place].push_back(in_turn[i]);
  }
  for (const auto& flows_of_place : places) share_rest(flows_of_place);
}

}  // namespace accl::topology
