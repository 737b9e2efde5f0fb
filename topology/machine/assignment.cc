#include "topology/machine/assignment.h"

#include <array>
#include <compare>

#include "accl/base/assert.h"

namespace accl::topology {
namespace {

// off_switch, crowding, path, tie: an ordered group, so shortest paths work on it.
struct Cost {
  std::array<std::int64_t, 4> parts{};

  friend auto operator<=>(const Cost&, const Cost&) = default;
  friend Cost operator+(Cost a, const Cost& b) {
    for (std::size_t i = 0; i < a.parts.size(); ++i) a.parts[i] += b.parts[i];
    return a;
  }
  friend Cost operator-(Cost a, const Cost& b) {
    for (std::size_t i = 0; i < a.parts.size(); ++i) a.parts[i] -= b.parts[i];
    return a;
  }
};

constexpr std::int64_t crowding_unit = 2520;  // Divisible by every sensible number of ports.
constexpr std::size_t nobody = static_cast<std::size_t>(-1);

class Assigner {
 public:
  Assigner(std::span<const UserCost> costs, std::span<const unsigned> ports)
      : costs_(costs), ports_(ports), load_(ports.size()) {}

  std::vector<std::size_t> run() {
    const std::size_t users = costs_.size() / ports_.size();
    for (std::size_t user = 0; user < users; ++user) add(user);
    return choice_;
  }

 private:
  Cost cost(std::size_t user, std::size_t resource) const {
    const UserCost& known = costs_[user * ports_.size() + resource];
    return {{known.off_switch, 0, known.path, known.tie}};
  }

  // Of one user more. Twice the load, since load * (load - 1) grows by that.
  Cost crowding(std::size_t resource) const {
    return {{0, 2 * load_[resource] * crowding_unit / ports_[resource], 0, 0}};
  }

  // The cheapest chain: the new user takes a resource, whose user moves on to another, and so on.
  // distance[j] is the cost of all moves of a chain that ends in j; mover[j] the last to move.
  void add(std::size_t user) {
    const std::size_t resources = ports_.size();
    std::vector<Cost> distance(resources);
    std::vector<std::size_t> mover(resources, user);
    for (std::size_t j = 0; j < resources; ++j) distance[j] = cost(user, j);
    while (relax(distance, mover)) {
    }
    std::size_t end = 0;
    for (std::size_t j = 1; j < resources; ++j) {
      if (distance[j] + crowding(j) < distance[end] + crowding(end)) end = j;
    }
    ++load_[end];
    choice_.push_back(nobody);
    while (end != nobody) {
      const std::size_t moved = mover[end];
      const std::size_t from = choice_[moved];
      choice_[moved] = end;
      end = from;
    }
  }

  bool relax(std::vector<Cost>& distance, std::vector<std::size_t>& mover) const {
    bool changed = false;
    for (std::size_t other = 0; other < choice_.size(); ++other) {
      const std::size_t from = choice_[other];
      for (std::size_t j = 0; j < distance.size(); ++j) {
        const Cost through = distance[from] - cost(other, from) + cost(other, j);
        if (j == from || through >= distance[j]) continue;
        distance[j] = through;
        mover[j] = other;
        changed = true;
      }
    }
    return changed;
  }

  const std::span<const UserCost> costs_;
  const std::span<const unsigned> ports_;
  std::vector<std::int64_t> load_;
  std::vector<std::size_t> choice_;
};

}  // namespace

std::vector<std::size_t> assign(std::span<const UserCost> costs, std::span<const unsigned> ports) {
  ACCL_ASSERT(!ports.empty() && costs.size() % ports.size() == 0, costs.size(), ports.size());
  return Assigner(costs, ports).run();
}

}  // namespace accl::topology
