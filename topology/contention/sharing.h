// sharing.h - flows that share links max-min fairly: the rates grow together until a link is full,
// its flows keep what they have, the others grow on. This is what perfect congestion control would
// reach; incast, pauses and lost packets (PFC, DCQCN) are not in it.
#pragma once

#include <cstdint>
#include <queue>
#include <span>
#include <utility>
#include <vector>

#include "topology/contention/load.h"

namespace accl::topology {

// Whose turn a flow is: of one sender's flows those with a lower number come first, and others
// share what they leave. As a NIC's queue does, that serves messages in order and never idles.
struct Turn {
  std::uint32_t sender = 0;
  std::uint64_t number = 0;

  auto operator<=>(const Turn&) const = default;
};

class Sharing {
 public:
  // `switches_are_free`: cables between switches have no limit.
  Sharing(const Fabric& fabric, bool switches_are_free);

  // Flows are numbered by the caller, densely, each number once. The path must outlive this.
  void add(std::uint32_t flow, std::span<const LinkId> path, const Turn& turn = {});
  void remove(std::uint32_t flow);

  // The flows whose rates may change because these came or went: all there are that share a limited
  // link with one of them, or with one that does, and so on.
  std::vector<std::uint32_t> joined(std::span<const std::uint32_t> changed);

  // New rates for flows that share no limited link with any others. 0: others come first.
  void share(std::span<const std::uint32_t> flows);
  double rate(std::uint32_t flow) const { return flows_[flow].rate; }  // Bytes per second.

 private:
  struct LinkState {
    double capacity = 0;
    double left = 0;
    std::uint32_t growing = 0;         // Flows whose rate is not yet fixed; 0 between calls.
    bool is_visited = false;           // By joined().
    std::vector<std::uint32_t> flows;  // That cross it; those that went are swept out by share().
  };
  struct FlowState {
    std::span<const LinkId> path;
    Turn turn{};
    double rate = 0;
    bool is_active = false;
    bool is_fixed = true;
    bool is_visited = false;
  };
  using Offer = std::pair<double, std::uint32_t>;  // Rate a link can give each flow, and the link.

  LinkState& at(LinkId link) { return links_[number_[index(link)]]; }
  void visit(LinkState& link, std::vector<std::uint32_t>& reached);
  void fix(std::uint32_t flow, double rate);
  void offer(std::uint32_t link) { offers_.push({links_[link].left / links_[link].growing, link}); }
  void start_growing(std::span<const std::uint32_t> flows);
  void share_rest(std::span<const std::uint32_t> flows);

  const Fabric& fabric_;
  const bool switches_are_free_;
  std::vector<LinkState> links_;
  std::vector<std::uint32_t> number_;  // By LinkId: in links_.
  std::vector<FlowState> flows_;
  std::priority_queue<Offer, std::vector<Offer>, std::greater<>> offers_;
};

}  // namespace accl::topology
