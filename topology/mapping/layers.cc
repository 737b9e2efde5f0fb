#include "topology/mapping/layers.h"

#include <algorithm>
#include <bit>
#include <map>

namespace accl::topology {
namespace {

std::uint32_t reversed(std::uint32_t value, std::uint32_t bits) {
  std::uint32_t result = 0;
  for (std::uint32_t i = 0; i < bits; ++i) result |= (value >> i & 1u) << (bits - 1 - i);
  return result;
}

}  // namespace

std::uint32_t Layer::units() const {
  std::size_t count = 0;
  for (const auto& each : switches) count += each.size();
  return static_cast<std::uint32_t>(count);
}

std::vector<std::uint32_t> Layer::in_order() const {
  std::vector<std::uint32_t> units;
  for (const auto& each : switches) units.insert(units.end(), each.begin(), each.end());
  return units;
}

std::uint32_t Layer::fill() const {
  if (switches.empty()) return 0;
  const std::size_t first = switches.front().size();
  const bool even = std::ranges::all_of(switches, [&](const auto& s) { return s.size() == first; });
  return even ? static_cast<std::uint32_t>(first) : 0;
}

std::array<Layer, 2> layers_of(const Problem& problem) {
  std::array<std::map<SwitchId, std::vector<std::uint32_t>>, 2> found;
  for (std::uint32_t unit = 0; unit < problem.units.size(); ++unit) {
    const SwitchId at = problem.switch_of(problem.units[unit].front());
    found[problem.fabric.at(at).side == Side::lower ? 1 : 0][at].push_back(unit);
  }
  std::array<Layer, 2> layers;
  for (std::size_t i = 0; i < 2; ++i) {
    for (auto& [at, units] : found[i]) layers[i].switches.push_back(std::move(units));
  }
  return layers;
}

Places::Places(std::uint32_t size) {
  if (size < 2) {
    ring = 1;
    return;
  }
  if (size % 2 == 1) {
    folded = size - std::bit_floor(size);
    size = std::bit_floor(size);
  }
  const auto twos = static_cast<std::uint32_t>(std::countr_zero(size));
  ring = size >> (twos - 1);
  exchanges = twos - 1;
}

std::uint32_t Places::core(std::uint32_t place) const {
  return place < 2 * folded ? place / 2 : place - folded;
}

std::uint32_t Places::layer(std::uint32_t place) const {
  const std::uint32_t at = core(place);
  return (at % ring + static_cast<std::uint32_t>(std::popcount(at / ring))) & 1u;
}

std::uint64_t Places::upper_key(std::uint32_t place) const {
  const std::uint32_t at = core(place);
  return std::uint64_t{at / ring} << 32 | at % ring;
}

std::uint64_t Places::lower_key(std::uint32_t place) const {
  const std::uint32_t at = core(place);
  return std::uint64_t{at % ring / 2} << 32 | reversed(at / ring, exchanges);
}

}  // namespace accl::topology
