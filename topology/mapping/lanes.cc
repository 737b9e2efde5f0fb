#include <algorithm>
#include <map>
#include <random>

#include "topology/mapping/search.h"

namespace accl::topology {
namespace {

// Messages of one step from one switch to another that is joined by several cables.
struct Crowd {
  std::vector<std::uint32_t> lanes;  // Of the cables that may be used.
  std::vector<std::uint32_t> senders{};
  std::vector<std::uint32_t> receivers{};

  // Which of them a sender of this lane takes, as Routes decides it.
  std::uint32_t taken_by(std::uint32_t lane) const {
    const bool is_there = std::ranges::find(lanes, lane) != lanes.end();
    return is_there ? lane : lanes[lane % lanes.size()];
  }
};

struct Crossing {
  std::uint64_t switches = 0;  // From and to.
  Pattern::Pair message;
};

std::vector<std::uint32_t> lanes_between(const Problem& problem, SwitchId from, SwitchId to) {
  std::vector<std::uint32_t> lanes;
  for (const LinkId link : problem.routes.between(from, to)) {
    lanes.push_back(problem.fabric.at(problem.fabric.cable_of(link)).lane);
  }
  return lanes;
}

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
      if (crossing.switches != last) crowds.push_back({.lanes = lanes_between(problem, from, to)});
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
      for (const std::uint32_t lane : crowds_[c].lanes) most_ = std::max(most_, lane + 1);
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
        const bool meets = crowd.taken_by(lanes_[other]) == crowd.taken_by(lane);
        count += other != p && meets ? 1u : 0u;
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
    std::vector<std::uint32_t> free = crowd.lanes;
    std::vector<std::size_t> late;
    for (std::size_t i = 0; i < crowd.senders.size(); ++i) {
      const Position from{crowd.senders[i]};
      const std::uint32_t lane = *seats.lane(from, Position{crowd.receivers[i]});
      if (std::erase(free, crowd.taken_by(lane)) == 0) late.push_back(i);
    }
    for (std::size_t k = 0; k < std::min(late.size(), free.size()); ++k) {
      const std::size_t i = late[k];
      seats.own_lanes[Seats::connection_of(crowd.senders[i], crowd.receivers[i])] = free[k];
    }
  }
}

}  // namespace

void search_lanes(const Problem& problem, Seats& seats, std::uint64_t seed) {
  const std::vector<Crowd> crowds = crowds_of(problem, seats);
  seats.lanes = LaneSearch(crowds, seats.size(), seed).run();
  part(crowds, seats);
}

void name_lanes(const Problem& problem, Seats& seats) {
  std::unordered_map<std::uint64_t, std::uint32_t> taken;  // By connection.
  std::vector<std::map<std::uint32_t, std::uint32_t>> uses(seats.size());
  std::vector<LinkId> path;
  for (const Pattern& pattern : problem.patterns) {
    for (const Pattern::Pair& pair : pattern.messages) {
      const Position from{pair.from};
      const Position to{pair.to};
      path.clear();
      const Flow flow{.from = seats.at(from), .to = seats.at(to), .lane = seats.lane(from, to)};
      if (!problem.routes.append_path(flow, path) || path.size() < 3) continue;
      const std::uint32_t lane = problem.routes.lane_of(path);
      if (taken.emplace(Seats::connection_of(pair.from, pair.to), lane).second) {
        ++uses[pair.from][lane];
      }
    }
  }
  const auto fewer = [](const auto& a, const auto& b) { return a.second < b.second; };
  for (std::uint32_t p = 0; p < seats.size(); ++p) {
    if (uses[p].empty()) continue;
    seats.lanes[p] = std::ranges::max_element(uses[p], fewer)->first;
  }
  seats.own_lanes.clear();
  for (const auto& [connection, lane] : taken) {
    if (lane != seats.lanes[connection >> 32]) seats.own_lanes[connection] = lane;
  }
}

}  // namespace accl::topology
