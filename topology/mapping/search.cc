#include "topology/mapping/search.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "topology/mapping/layers.h"

namespace accl::topology {
namespace {

using Random = std::mt19937_64;

// A message as one of its ends sees it.
struct End {
  std::uint32_t pattern = 0;
  std::uint32_t from = 0;  // Positions.
  std::uint32_t to = 0;
};

// The seats that are being changed, and what each step then puts on each pair of switches.
class Board {
 public:
  Board(const Problem& problem, std::vector<std::uint32_t> unit_order);

  double cost() const { return cost_; }
  const std::vector<std::uint32_t>& unit_order() const { return order_; }
  std::uint32_t places() const { return static_cast<std::uint32_t>(order_.size()); }

  // Exchanges the units at two places; again undoes it.
  void exchange(std::uint32_t a, std::uint32_t b);
  // Whether a message of this place is one too many or takes a detour.
  bool is_troubled(std::uint32_t place) const;
  bool share_a_switch(std::uint32_t a, std::uint32_t b) const {
    return at_[a * width_] == at_[b * width_];
  }

 private:
  static constexpr double detour_cost = 2.5;    // Two cables more, where others may be.
  static constexpr double occupied_cost = 0.5;  // A cable that another job uses too.

  void collect_ends();
  void find_rooms();
  void seat(std::uint32_t place);
  void count_all();
  void count(const End& end, int change);
  void count_place(std::uint32_t place, std::uint32_t other, int change);
  std::size_t pair(std::uint32_t from, std::uint32_t to) const {
    return std::size_t{at_[from]} * switches_ + at_[to];
  }

  const Problem& problem_;
  std::uint32_t width_;
  std::uint32_t switches_ = 0;          // In use, numbered densely.
  std::vector<std::uint32_t> dense_;    // By SwitchId.
  std::vector<std::uint32_t> order_;    // Unit by place.
  std::vector<std::uint32_t> at_;       // Switch (dense) by position.
  std::vector<std::vector<End>> ends_;  // By position.
  std::vector<std::uint16_t> rooms_;    // Cables by pair; 0: none, a detour.
  std::vector<double> base_;            // What a message of this pair costs by itself.
  std::vector<std::uint16_t> meet_;     // Messages by pattern and pair.
  std::vector<double> weights_;         // By pattern: a light step is still worth half a heavy one.
  double cost_ = 0;
};

Board::Board(const Problem& problem, std::vector<std::uint32_t> unit_order)
    : problem_(problem),
      width_(problem.width),
      dense_(problem.fabric.switches.size(), 0xFFFF'FFFF),
      order_(std::move(unit_order)),
      at_(problem.size()),
      ends_(problem.size()) {
  for (const auto& unit : problem.units) {
    for (const NicId nic : unit) {
      std::uint32_t& number = dense_[index(problem.switch_of(nic))];
      if (number == 0xFFFF'FFFF) number = switches_++;
    }
  }
  for (std::uint32_t place = 0; place < places(); ++place) seat(place);
  for (const Pattern& each : problem.patterns) weights_.push_back((1 + each.weight) / 2);
  find_rooms();
  collect_ends();
  count_all();
}

void Board::seat(std::uint32_t place) {
  const std::vector<NicId>& unit = problem_.units[order_[place]];
  for (std::uint32_t i = 0; i < width_; ++i) {
    at_[place * width_ + i] = dense_[index(problem_.switch_of(unit[i]))];
  }
}

void Board::find_rooms() {
  rooms_.assign(std::size_t{switches_} * switches_, 0);
  base_.assign(rooms_.size(), detour_cost);
  for (std::uint32_t i = 0; i < dense_.size(); ++i) {
    for (std::uint32_t j = 0; j < dense_.size(); ++j) {
      if (dense_[i] == 0xFFFF'FFFF || dense_[j] == 0xFFFF'FFFF) continue;
      const std::size_t at = std::size_t{dense_[i]} * switches_ + dense_[j];
      const auto links = problem_.routes.between(SwitchId{i}, SwitchId{j});
      const auto distance = problem_.routes.distance(SwitchId{i}, SwitchId{j});
      base_[at] = detour_cost * std::max(1u, std::max(2u, distance.value_or(8)) - 1);
      if (i == j) base_[at] = 0;
      if (i == j) rooms_[at] = 0xFFFF;
      if (links.empty()) continue;
      const CableId cable = problem_.fabric.cable_of(links.front());
      rooms_[at] = static_cast<std::uint16_t>(links.size());
      base_[at] = problem_.condition.is_occupied(cable) ? occupied_cost : 0;
    }
  }
}

// Messages inside a unit stay inside its server.
void Board::collect_ends() {
  for (std::uint32_t p = 0; p < problem_.patterns.size(); ++p) {
    for (const Pattern::Pair& message : problem_.patterns[p].messages) {
      if (width_ > 1 && message.from / width_ == message.to / width_) continue;
      ends_[message.from].push_back({p, message.from, message.to});
      ends_[message.to].push_back({p, message.from, message.to});
    }
  }
}

void Board::count(const End& end, int change) {
  const std::size_t at = pair(end.from, end.to);
  std::uint16_t& meet = meet_[end.pattern * rooms_.size() + at];
  const bool over = change > 0 ? meet >= rooms_[at] : meet > rooms_[at];
  const double added = base_[at] + (over && rooms_[at] > 0 ? 1 : 0);
  meet = static_cast<std::uint16_t>(meet + change);
  cost_ += change * added * weights_[end.pattern];
}

void Board::count_all() {
  meet_.assign(problem_.patterns.size() * rooms_.size(), 0);
  for (std::uint32_t position = 0; position < at_.size(); ++position) {
    for (const End& end : ends_[position]) {
      if (end.from == position) count(end, 1);
    }
  }
}

// Messages between the two places that are being exchanged are counted with `place` only.
void Board::count_place(std::uint32_t place, std::uint32_t other, int change) {
  for (std::uint32_t i = place * width_; i < (place + 1) * width_; ++i) {
    for (const End& end : ends_[i]) {
      const std::uint32_t far = (end.from == i ? end.to : end.from) / width_;
      if (other != places() && far == other) continue;
      count(end, change);
    }
  }
}

void Board::exchange(std::uint32_t a, std::uint32_t b) {
  count_place(a, places(), -1);
  count_place(b, a, -1);
  std::swap(order_[a], order_[b]);
  seat(a);
  seat(b);
  count_place(a, places(), 1);
  count_place(b, a, 1);
}

bool Board::is_troubled(std::uint32_t place) const {
  for (std::uint32_t i = place * width_; i < (place + 1) * width_; ++i) {
    for (const End& end : ends_[i]) {
      const std::size_t at = pair(end.from, end.to);
      if (base_[at] > 0 || meet_[end.pattern * rooms_.size() + at] > rooms_[at]) return true;
    }
  }
  return false;
}

// Upper units on the places of the upper layer, switch by switch, lower ones likewise; what is left
// of the fuller layer takes what is left of the other's places.
std::vector<std::uint32_t> natural_order(const Problem& problem) {
  const auto size = static_cast<std::uint32_t>(problem.units.size());
  const Places places(size);
  std::array<std::vector<std::uint32_t>, 2> wanted;
  for (std::uint32_t place = 0; place < size; ++place) wanted[places.layer(place)].push_back(place);
  std::ranges::stable_sort(wanted[0], {}, [&](auto p) { return places.upper_key(p); });
  std::ranges::stable_sort(wanted[1], {}, [&](auto p) { return places.lower_key(p); });
  std::vector<std::uint32_t> order(size);
  std::vector<std::uint32_t> left_over;
  const std::array<Layer, 2> layers = layers_of(problem);
  for (std::size_t layer = 0; layer < 2; ++layer) {
    std::vector<std::uint32_t>& free = wanted[layer];
    const std::vector<std::uint32_t> units = layers[layer].in_order();
    const std::size_t seated = std::min(units.size(), free.size());
    for (std::size_t i = 0; i < seated; ++i) order[free[i]] = units[i];
    left_over.insert(left_over.end(), units.begin() + static_cast<std::ptrdiff_t>(seated),
                     units.end());
    free.erase(free.begin(), free.begin() + static_cast<std::ptrdiff_t>(seated));
  }
  for (std::vector<std::uint32_t>& free : wanted) {
    for (const std::uint32_t place : free) {
      order[place] = left_over.back();
      left_over.pop_back();
    }
  }
  return order;
}

// A place with trouble if one of a few looks finds one, and a partner at another switch.
std::pair<std::uint32_t, std::uint32_t> pick(const Board& board, Random& random) {
  constexpr int looks = 12;
  std::uint32_t a = static_cast<std::uint32_t>(random() % board.places());
  for (int i = 0; i < looks && !board.is_troubled(a); ++i) {
    a = static_cast<std::uint32_t>(random() % board.places());
  }
  std::uint32_t b = a;
  for (int i = 0; i < looks && board.share_a_switch(a, b); ++i) {
    b = static_cast<std::uint32_t>(random() % board.places());
  }
  return {a, b};
}

}  // namespace

std::uint64_t default_moves(const Problem& problem) {
  const std::uint64_t ends =
      std::max<std::uint64_t>(1, std::uint64_t{problem.patterns.size()} * problem.width);
  return std::min<std::uint64_t>(60'000'000 / ends, std::uint64_t{problem.size()} * 8'000);
}

SearchResult search_seats(const Problem& problem, std::uint64_t moves, std::uint64_t seed) {
  constexpr double hottest = 0.12;
  constexpr double coldest = 0.02;
  constexpr double nothing = 1e-6;  // What rounding may leave of a cost of 0.
  Random random(seed);
  Board board(problem, natural_order(problem));
  SearchResult best{board.unit_order(), board.cost()};
  for (std::uint64_t i = 0; i < moves && best.cost > nothing && board.places() > 1; ++i) {
    const double heat =
        hottest * std::pow(coldest / hottest, static_cast<double>(i) / static_cast<double>(moves));
    const auto [a, b] = pick(board, random);
    const double before = board.cost();
    board.exchange(a, b);
    const double worse = board.cost() - before;
    const double chance = static_cast<double>(random() >> 11) * 0x1p-53;
    if (worse > 0 && chance >= std::exp(-worse / heat)) board.exchange(a, b);
    if (board.cost() < best.cost - nothing) best = {board.unit_order(), board.cost()};
  }
  if (best.cost <= nothing) best.cost = 0;
  return best;
}

}  // namespace accl::topology
