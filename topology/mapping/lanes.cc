#include <algorithm>
#include <random>

#include "topology/mapping/search.h"

namespace accl::topology {
namespace {

// Messages of one step from one switch to another that is joined by several cables.
struct Crowd {
  std::vector<std::uint32_t> senders;
  std::vector<std::uint32_t> receivers;
  std::uint32_t cables = 1;
};

struct Crossing {
  std::uint64_t switches = 0;  // From and to.
  Pattern::Pair message;
};

std::vector<Crowd> crowds_of(const Problem& problem, const Seats& seats) {
  std::vector<Crowd> crowds;
  for (const Pattern& pattern : problem.patterns) {
    std::vector<Crossing> crossings;
    for (const Pattern::Pair& pair : pattern.messages) {
      const SwitchId from = problem.switch_of(seats.nics[pair.from]);
      const SwitchId to = problem.switch_of(seats.nics[pair.to]);
      if (problem.routes.between(from, to).size() < 2) continue;
      crossings.push_back({std::uint64_t{index(from)} << 32 | index(to), pair});
    }
    std::ranges::stable_sort(crossings, {}, &Crossing::switches);
    std::uint64_t last = ~std::uint64_t{0};
    for (const Crossing& crossing : crossings) {
      const SwitchId from{static_cast<std::uint32_t>(crossing.switches >> 32)};
      const SwitchId to{static_cast<std::uint32_t>(crossing.switches)};
      if (crossing.switches != last) {
        const std::size_t cables = problem.routes.between(from, to).size();
        crowds.push_back({.senders = {}, .receivers = {}, .cables = std::uint32_t(cables)});
      }
      last = crossing.switches;
      crowds.back().senders.push_back(crossing.message.from);
      crowds.back().receivers.push_back(crossing.message.to);
    }
  }
  std::erase_if(crowds, [](const Crowd& crowd) { return crowd.senders.size() < 2; });
  return crowds;
}

// Min-conflicts: senders in trouble change to the lane with the fewest equals, ties at random.
class LaneSearch {
 public:
  LaneSearch(const std::vector<Crowd>& crowds, std::size_t positions, std::uint64_t seed)
      : crowds_(crowds), crowds_of_(positions), lanes_(positions, 0), random_(seed) {
    for (std::uint32_t c = 0; c < crowds_.size(); ++c) {
      most_ = std::max(most_, crowds_[c].cables);
      for (const std::uint32_t sender : crowds_[c].senders) crowds_of_[sender].push_back(c);
    }
    for (std::uint32_t p = 0; p < lanes_.size(); ++p) lanes_[p] = best_lane(p);
  }

  std::vector<std::uint32_t> run() {
    constexpr int rounds = 400;
    std::vector<std::uint32_t> best = lanes_;
    std::uint64_t least = trouble();
    for (int i = 0; i < rounds && least > 0; ++i) {
      for (std::uint32_t p = 0; p < lanes_.size(); ++p) {
        if (equals(p, lanes_[p]) == 0) continue;
        const bool is_stray = random_() % 16 == 0;  // Out of a hollow.
        lanes_[p] = is_stray ? static_cast<std::uint32_t>(random_() % most_) : best_lane(p);
      }
      const std::uint64_t now = trouble();
      if (now < least) best = lanes_;
      least = std::min(least, now);
    }
    return best;
  }

 private:
  std::uint32_t equals(std::uint32_t p, std::uint32_t lane) const {
    std::uint32_t count = 0;
    for (const std::uint32_t c : crowds_of_[p]) {
      const Crowd& crowd = crowds_[c];
      for (const std::uint32_t other : crowd.senders) {
        count += other != p && lanes_[other] % crowd.cables == lane % crowd.cables ? 1u : 0u;
      }
    }
    return count;
  }
  std::uint32_t best_lane(std::uint32_t p) {
    std::uint32_t best = lanes_[p];
    std::uint32_t least = 0xFFFF'FFFF;
    std::uint32_t ties = 0;
    for (std::uint32_t lane = 0; lane < most_; ++lane) {
      const std::uint32_t count = equals(p, lane);
      if (count > least) continue;
      ties = count < least ? 1 : ties + 1;
      if (count < least || random_() % ties == 0) best = lane;
      least = count;
    }
    return best;
  }
  std::uint64_t trouble() const {
    std::uint64_t sum = 0;
    for (std::uint32_t p = 0; p < lanes_.size(); ++p) sum += equals(p, lanes_[p]);
    return sum;
  }

  const std::vector<Crowd>& crowds_;
  std::vector<std::vector<std::uint32_t>> crowds_of_;  // By position.
  std::vector<std::uint32_t> lanes_;
  std::mt19937_64 random_;
  std::uint32_t most_ = 1;
};

// In each crowd, who comes first keeps its lane; the others take what is left.
void part(const std::vector<Crowd>& crowds, Seats& seats) {
  for (const Crowd& crowd : crowds) {
    std::vector<bool> taken(crowd.cables, false);
    std::vector<std::size_t> late;
    for (std::size_t i = 0; i < crowd.senders.size(); ++i) {
      const Position from{crowd.senders[i]};
      const std::uint32_t lane = *seats.lane(from, Position{crowd.receivers[i]}) % crowd.cables;
      if (taken[lane]) late.push_back(i);
      taken[lane] = true;
    }
    for (const std::size_t i : late) {
      const auto free = std::ranges::find(taken, false);
      if (free == taken.end()) break;  // More messages than cables.
      *free = true;
      seats.own_lanes[Seats::connection_of(crowd.senders[i], crowd.receivers[i])] =
          static_cast<std::uint32_t>(free - taken.begin());
    }
  }
}

}  // namespace

void search_lanes(const Problem& problem, Seats& seats, std::uint64_t seed) {
  const std::vector<Crowd> crowds = crowds_of(problem, seats);
  seats.lanes = LaneSearch(crowds, seats.size(), seed).run();
  part(crowds, seats);
}

}  // namespace accl::topology
