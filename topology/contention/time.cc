#include "topology/contention/time.h"

#include <algorithm>
#include <limits>
#include <queue>
#include <utility>

#include "accl/base/assert.h"

namespace accl::topology {
namespace {

constexpr double rounding = 1e-9;  // Relative: what differs less is one event.
constexpr double unlimited = std::numeric_limits<double>::infinity();

// The flows that are still under way, and what they share.
class Sharing {
 public:
  Sharing(const Fabric& fabric, const RoutedRound& round, bool switches_are_free);

  // Max-min fair rates of the flows that are not done, bytes per second.
  void share();
  // Lets the flows run until the next of them is done; returns how long that took.
  double run(std::vector<double>& left);

  bool is_done() const { return active_.empty(); }
  std::span<const std::uint32_t> active() const { return active_; }

 private:
  struct LinkState {
    double capacity = 0;
    double left = 0;
    std::uint32_t growing = 0;         // Flows whose rate is not yet fixed.
    std::vector<std::uint32_t> flows;  // All that cross it.
  };
  using Offer = std::pair<double, std::uint32_t>;  // Rate a link can give each flow, and the link.

  void fix(std::uint32_t flow, double rate);
  Offer offer_of(std::uint32_t link) const {
    return {links_[link].left / links_[link].growing, link};
  }

  const RoutedRound& round_;
  std::vector<LinkState> links_;
  std::vector<std::uint32_t> number_;  // By LinkId: in links_.
  std::vector<std::uint32_t> active_;
  std::vector<double> rates_;
  std::vector<bool> is_fixed_;
  std::priority_queue<Offer, std::vector<Offer>, std::greater<>> offers_;
};

Sharing::Sharing(const Fabric& fabric, const RoutedRound& round, bool switches_are_free)
    : round_(round),
      number_(fabric.graph.links().size(), 0xFFFF'FFFF),
      rates_(round.flows.size()),
      is_fixed_(round.flows.size()) {
  for (std::uint32_t f = 0; f < round.flows.size(); ++f) {
    active_.push_back(f);
    for (const LinkId link : round.path(round.flows[f])) {
      std::uint32_t& number = number_[index(link)];
      if (number == 0xFFFF'FFFF) {
        number = static_cast<std::uint32_t>(links_.size());
        const bool is_free = switches_are_free && fabric.at(fabric.cable_of(link)).joins_switches;
        links_.push_back({});
        links_.back().capacity = is_free ? unlimited : fabric.graph.link(link).bytes_per_second;
      }
      links_[number].flows.push_back(f);
    }
  }
}

void Sharing::fix(std::uint32_t flow, double rate) {
  rates_[flow] = rate;
  is_fixed_[flow] = true;
  for (const LinkId link : round_.path(round_.flows[flow])) {
    LinkState& state = links_[number_[index(link)]];
    state.left = std::max(0.0, state.left - rate);
    if (--state.growing > 0) offers_.push(offer_of(number_[index(link)]));
  }
}

void Sharing::share() {
  for (LinkState& link : links_) {
    link.left = link.capacity;
    link.growing = 0;
  }
  for (const std::uint32_t flow : active_) {
    is_fixed_[flow] = false;
    for (const LinkId link : round_.path(round_.flows[flow]))
      ++links_[number_[index(link)]].growing;
  }
  for (std::uint32_t i = 0; i < links_.size(); ++i) {
    if (links_[i].growing > 0) offers_.push(offer_of(i));
  }
  while (!offers_.empty()) {
    const auto [rate, link] = offers_.top();
    offers_.pop();
    if (links_[link].growing == 0 || rate < offer_of(link).first * (1 - rounding)) continue;
    for (const std::uint32_t flow : links_[link].flows) {
      if (!is_fixed_[flow]) fix(flow, rate);
    }
  }
}

double Sharing::run(std::vector<double>& left) {
  double seconds = unlimited;
  for (const std::uint32_t flow : active_) seconds = std::min(seconds, left[flow] / rates_[flow]);
  const double until = seconds * (1 + rounding);
  std::erase_if(active_, [&](std::uint32_t flow) {
    const bool ends = left[flow] <= rates_[flow] * until;
    left[flow] = ends ? 0 : left[flow] - rates_[flow] * seconds;
    return ends;
  });
  return seconds;
}

// The links of done flows stay listed; what they carried is never fixed again.
double latest(const Fabric& fabric, const RoutedRound& round, std::span<const double> arrivals) {
  double last = 0;
  for (std::size_t f = 0; f < arrivals.size(); ++f) {
    last = std::max(last, arrivals[f] + fabric.hop_seconds * round.flows[f].link_count);
  }
  return arrivals.empty() ? 0 : last + fabric.start_seconds;
}

}  // namespace

std::vector<double> arrivals_of(const Fabric& fabric, const RoutedRound& round,
                                double bytes_per_chunk, bool switches_are_free) {
  std::vector<double> left;
  for (const Routed& flow : round.flows) left.push_back(flow.chunks * bytes_per_chunk);
  std::vector<double> arrivals(round.flows.size());
  Sharing sharing(fabric, round, switches_are_free);
  double now = 0;
  while (!sharing.is_done()) {
    const std::vector<std::uint32_t> before(sharing.active().begin(), sharing.active().end());
    sharing.share();
    now += sharing.run(left);
    ACCL_ASSERT(sharing.active().size() < before.size(), before.size(), now);
    for (const std::uint32_t flow : before) {
      if (left[flow] == 0 && arrivals[flow] == 0) arrivals[flow] = now;
    }
  }
  return arrivals;
}

RoundTime time_of(const Fabric& fabric, const RoutedRound& round, double bytes_per_chunk) {
  const std::vector<double> shared = arrivals_of(fabric, round, bytes_per_chunk);
  const std::vector<double> alone = arrivals_of(fabric, round, bytes_per_chunk, true);
  return {latest(fabric, round, shared), latest(fabric, round, alone)};
}

}  // namespace accl::topology
