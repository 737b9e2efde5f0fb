#include "topology/mapping/closed_form.h"

#include <algorithm>
#include <bit>
#include <random>

#include "topology/mapping/layers.h"

namespace accl::topology {
namespace {

struct Even {
  std::uint32_t switches = 0;
  std::uint32_t fill = 0;
};

// The fewest free cables between two switches in use of different layers.
std::size_t least_cables(const Problem& problem, const std::array<Layer, 2>& layers) {
  std::size_t least = ~std::size_t{0};
  for (const auto& above : layers[0].switches) {
    for (const auto& below : layers[1].switches) {
      const SwitchId from = problem.switch_of(problem.units[above.front()].front());
      const SwitchId to = problem.switch_of(problem.units[below.front()].front());
      const auto links = problem.routes.between(from, to);
      const bool is_free =
          !links.empty() && !problem.condition.is_occupied(problem.fabric.cable_of(links.front()));
      least = std::min(least, is_free ? links.size() : 0);
    }
  }
  return least;
}

std::uint32_t log2_of(std::uint32_t power) {
  return static_cast<std::uint32_t>(std::countr_zero(power));
}

// Deals the places of a layer out: `at` says which switch, units of a switch in their order.
class Filler {
 public:
  explicit Filler(const Layer& layer) : layer_(layer), used_(layer.switches.size()) {}

  std::uint32_t take(std::uint32_t at) { return layer_.switches[at][used_[at]++]; }

 private:
  const Layer& layer_;
  std::vector<std::size_t> used_;
};

std::optional<ClosedForm> power_of_two(const std::array<Layer, 2>& layers, std::uint32_t size,
                                       std::size_t cables) {
  const Even upper{static_cast<std::uint32_t>(layers[0].switches.size()), layers[0].fill()};
  const Even lower{static_cast<std::uint32_t>(layers[1].switches.size()), layers[1].fill()};
  const std::uint32_t bits = log2_of(size) - 1;
  const std::uint32_t covered = log2_of(upper.switches) + log2_of(lower.switches);
  const std::uint32_t lane_bits = bits > covered ? bits - covered : 0;
  if (std::size_t{1} << lane_bits > cables) return std::nullopt;
  ClosedForm form{.unit_order = {}, .lanes = {}, .name = "closed form"};
  Filler above(layers[0]);
  Filler below(layers[1]);
  for (std::uint32_t r = 0; r < size; ++r) {
    const std::uint32_t q = r / 2;
    const bool is_lower = std::popcount(r) % 2 == 1;
    form.unit_order.push_back(is_lower ? below.take(q & (lower.switches - 1))
                                       : above.take(q >> (bits - log2_of(upper.switches))));
    form.lanes.push_back(q >> log2_of(lower.switches) & ((1u << lane_bits) - 1));
  }
  return form;
}

// Of the ring x exchanges form: how far the upper switch of each block is turned.
struct Turn {
  std::uint32_t ring = 0;
  std::uint32_t bits = 0;
};

class RingForm {
 public:
  RingForm(std::uint32_t odd, std::uint32_t switch_bits, std::uint32_t fill_bits)
      : odd_(odd), switch_bits_(switch_bits), fill_bits_(fill_bits) {}

  // A turn for each of the 2^fill_bits blocks so that no pair of switches meets more than `cables`
  // messages in any step; a search of bounded length.
  std::optional<std::vector<Turn>> find(std::size_t cables) const;

  std::uint32_t lower(std::uint32_t place) const;
  std::uint32_t upper(std::uint32_t place, const std::vector<Turn>& turns) const;

 private:
  std::uint32_t size() const { return 2 * odd_ << (switch_bits_ + fill_bits_); }
  std::uint32_t cost(const std::vector<Turn>& turns, std::size_t cables) const;
  std::uint32_t partner(std::uint32_t place, std::uint32_t step) const;
  std::uint32_t overload(const std::vector<std::uint32_t>& at, const Places& places,
                         std::uint32_t step, std::size_t cables) const;

  std::uint32_t odd_;
  std::uint32_t switch_bits_;
  std::uint32_t fill_bits_;
};

std::uint32_t RingForm::lower(std::uint32_t place) const {
  const std::uint32_t c = place % (2 * odd_);
  const std::uint32_t w = place / (2 * odd_);
  return (c / 2) << switch_bits_ | (w & ((1u << switch_bits_) - 1));
}

std::uint32_t RingForm::upper(std::uint32_t place, const std::vector<Turn>& turns) const {
  const std::uint32_t c = place % (2 * odd_);
  const std::uint32_t w = place / (2 * odd_);
  const Turn& turn = turns[w >> switch_bits_];
  const std::uint32_t low = (w & ((1u << switch_bits_) - 1)) ^ turn.bits;
  return (c / 2 + turn.ring) % odd_ << switch_bits_ | low;
}

// Step 0 goes on round the ring, step 1 back (the other half of the messages), the others exchange.
std::uint32_t RingForm::partner(std::uint32_t place, std::uint32_t step) const {
  const std::uint32_t ring = 2 * odd_;
  const std::uint32_t c = place % ring;
  if (step >= 2) return c + ring * (place / ring ^ 1u << (step - 2));
  return place - c + (c + (step == 0 ? 1 : ring - 1)) % ring;
}

std::uint32_t RingForm::overload(const std::vector<std::uint32_t>& at, const Places& places,
                                 std::uint32_t step, std::size_t cables) const {
  const std::uint32_t switches = odd_ << switch_bits_;
  std::vector<std::uint32_t> meet(std::size_t{switches} * switches);
  for (std::uint32_t place = 0; place < size(); ++place) {
    if (places.layer(place) == 0) ++meet[at[place] * switches + at[partner(place, step)]];
  }
  std::uint32_t over = 0;
  for (const std::uint32_t count : meet) {
    if (count > cables) over += count - static_cast<std::uint32_t>(cables);
  }
  return over;
}

std::uint32_t RingForm::cost(const std::vector<Turn>& turns, std::size_t cables) const {
  const Places places(size());
  std::vector<std::uint32_t> at(size());
  for (std::uint32_t place = 0; place < size(); ++place) {
    at[place] = places.layer(place) == 0 ? upper(place, turns) : lower(place);
  }
  std::uint32_t over = 0;
  for (std::uint32_t step = 0; step < 2 + switch_bits_ + fill_bits_; ++step) {
    over += overload(at, places, step, cables);
  }
  return over;
}

std::optional<std::vector<Turn>> RingForm::find(std::size_t cables) const {
  constexpr std::uint64_t most_work = 200'000'000;  // Places looked at.
  const std::uint32_t steps = 2 + switch_bits_ + fill_bits_;
  const std::uint64_t tries = most_work / (std::uint64_t{size()} * steps);
  std::mt19937 random(1);
  std::vector<Turn> turns(std::size_t{1} << fill_bits_);
  for (std::uint32_t v = 0; v < turns.size(); ++v) {
    turns[v] = {(v >> switch_bits_) % odd_, v & ((1u << switch_bits_) - 1)};
  }
  std::uint32_t best = cost(turns, cables);
  for (std::uint64_t i = 0; i < tries && best > 0; ++i) {
    Turn& changed = turns[random() % turns.size()];
    const Turn before = changed;
    changed.ring = static_cast<std::uint32_t>(random() % odd_);
    changed.bits = static_cast<std::uint32_t>(random() % (1u << switch_bits_));
    const std::uint32_t now = cost(turns, cables);
    if (now <= best) best = now;
    if (now > best) changed = before;
  }
  return best == 0 ? std::optional(turns) : std::nullopt;
}

std::optional<ClosedForm> ring_times_exchanges(const std::array<Layer, 2>& layers,
                                               std::uint32_t size, std::size_t cables) {
  const Places places(size);
  const std::uint32_t odd = places.ring / 2;
  const auto switches = static_cast<std::uint32_t>(layers[0].switches.size());
  const std::uint32_t per_odd = switches / odd;
  const bool fits = layers[1].switches.size() == switches && per_odd * odd == switches &&
                    std::has_single_bit(per_odd) && std::has_single_bit(layers[0].fill());
  if (!fits || cables == 0) return std::nullopt;
  const RingForm ring(odd, log2_of(per_odd), log2_of(layers[0].fill()));
  // With several cables a pair the lanes must be dealt too, which the search for lanes does.
  const auto turns = ring.find(cables);
  if (!turns) return std::nullopt;
  ClosedForm form{.unit_order = {}, .lanes = {}, .name = "ring x exchanges"};
  Filler above(layers[0]);
  Filler below(layers[1]);
  for (std::uint32_t place = 0; place < size; ++place) {
    form.unit_order.push_back(places.layer(place) == 1 ? below.take(ring.lower(place))
                                                       : above.take(ring.upper(place, *turns)));
  }
  return form;
}

ClosedForm leaf_by_leaf(const std::array<Layer, 2>& layers) {
  ClosedForm form{.unit_order = {}, .lanes = {}, .name = "leaf by leaf, a spine a place"};
  for (const Layer& layer : layers) {
    for (const std::vector<std::uint32_t>& units : layer.switches) {
      form.unit_order.insert(form.unit_order.end(), units.begin(), units.end());
      for (std::uint32_t place = 0; place < units.size(); ++place) form.lanes.push_back(place);
    }
  }
  return form;
}

}  // namespace

std::optional<ClosedForm> closed_form(const Problem& problem) {
  const bool is_exchange = problem.algorithm == "hd" || problem.algorithm == "twolevel";
  const std::array<Layer, 2> layers = layers_of(problem);
  const auto size = static_cast<std::uint32_t>(problem.units.size());
  if (problem.fabric.kind == FabricKind::leaf_spine) return leaf_by_leaf(layers);
  const bool is_even = layers[0].fill() > 0 && layers[1].fill() > 0;
  if (!is_exchange || size < 2 || size % 2 == 1 || !is_even) return std::nullopt;
  if (layers[0].units() != layers[1].units()) return std::nullopt;
  const std::size_t cables = least_cables(problem, layers);
  if (!std::has_single_bit(size)) return ring_times_exchanges(layers, size, cables);
  const bool are_powers = std::has_single_bit(layers[0].switches.size()) &&
                          std::has_single_bit(layers[1].switches.size());
  return are_powers ? power_of_two(layers, size, cables) : std::nullopt;
}

}  // namespace accl::topology
