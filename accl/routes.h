// routes.h - from a call to what runs it: the algorithm (chosen by table or by name), its program
// for this rank, lowered once, and the lanes to its peers.
#pragma once

#include <memory>
#include <vector>

#include "accl/binding.h"
#include "accl/communicator.h"
#include "accl/connections.h"
#include "algorithms/selection.h"

namespace accl {

struct Route {
  const Algorithm* algorithm = nullptr;
  Choice choice;
  std::shared_ptr<const Program> program;
  std::vector<Rank> ranks;        // Of the peers, by number in the program.
  std::vector<PeerLanes*> peers;  // Likewise, once they are joined.
  bool is_open = false;
};

// How the seats of a plan are taken by ranks.
struct Seating {
  std::vector<Rank> order;         // Position -> rank; empty: the same numbers.
  std::vector<Position> position;  // Rank -> position; empty likewise.

  Rank rank_at(Position p) const { return order.empty() ? Rank{index(p)} : order[index(p)]; }
  Position seat_of(Rank r) const {
    return position.empty() ? Position{index(r)} : position[index(r)];
  }
};

class Routes {
 public:
  // Throws Error(invalid_argument) for an order that is no permutation of the ranks, or an
  // algorithm that no collective has.
  Routes(Rank self, std::uint32_t size, std::uint32_t ranks_per_host,
         const CommunicatorOptions& options, SelectionTable table);

  // A new route is not open: its peers are yet to be joined.
  Route& find(const Call& call, std::string_view transport);
  Choice choose(const Call& call, std::string_view transport) const;
  const Seating& seating() const { return seating_; }

 private:
  struct Key {
    Collective collective{};
    std::uint32_t root = 0;
    std::uint32_t size_class = 0;  // Power of two of the bytes: what selection may depend on.
    std::int64_t to = 0, from = 0;

    friend bool operator==(const Key&, const Key&) = default;
  };
  Key key_of(const Call& call) const;
  std::unique_ptr<Route> make(const Call& call, std::string_view transport);
  std::shared_ptr<const Program> program_for(const Call& call, const Algorithm& algorithm);

  const Rank self_;
  const std::uint32_t size_;
  const std::uint32_t width_;  // Ranks per host, where that is the same everywhere; else 1.
  const CommunicatorOptions options_;
  const SelectionTable table_;
  Seating seating_;
  Key last_key_;
  Route* last_ = nullptr;
  std::vector<std::pair<Key, std::unique_ptr<Route>>> routes_;
  struct KnownProgram {
    const Algorithm* algorithm;
    std::uint32_t root;
    std::shared_ptr<const Program> program;
  };
  std::vector<KnownProgram> programs_;
};

}  // namespace accl
