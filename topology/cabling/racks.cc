// racks.cc - who stands where. Switches that the spec gives no place are dealt over the racks in
// equal shares, layer by layer, in their order, and fill a rack from the top. A server goes to the
// rack where most of its NICs have their switches, or the next with room, from the bottom.
#include <fmt/format.h>

#include <map>
#include <optional>

#include "topology/cabling/plan.h"

namespace accl::topology {
namespace {

// Which units of the racks are taken.
class Room {
 public:
  Room(std::size_t racks, std::uint32_t units)
      : units_(units), taken_(racks, std::vector<bool>(units)), free_(racks, units) {}

  bool take(const Place& place) {
    if (place.u + place.units - 1 > units_ || !is_free(place)) return false;
    for (std::uint32_t i = 0; i < place.units; ++i) taken_[place.rack][place.u - 1 + i] = true;
    free_[place.rack] -= place.units;
    return true;
  }

  // In the rack, or the next one with room.
  std::optional<Place> find(std::uint32_t rack, std::uint32_t units, bool from_top) {
    const auto racks = static_cast<std::uint32_t>(taken_.size());
    for (std::uint32_t i = 0; i < racks; ++i) {
      const auto place = find_in((rack + i) % racks, units, from_top);
      if (place) return place;
    }
    return {};
  }

 private:
  bool is_free(const Place& place) const {
    for (std::uint32_t i = 0; i < place.units; ++i) {
      if (taken_[place.rack][place.u - 1 + i]) return false;
    }
    return true;
  }

  std::optional<Place> find_in(std::uint32_t rack, std::uint32_t units, bool from_top) const {
    if (free_[rack] < units) return {};
    const std::uint32_t last = units_ - units + 1;
    for (std::uint32_t i = 1; i <= last; ++i) {
      const Place place{.rack = rack, .u = from_top ? last + 1 - i : i, .units = units};
      if (is_free(place)) return place;
    }
    return {};
  }

  std::uint32_t units_;
  std::vector<std::vector<bool>> taken_;
  std::vector<std::uint32_t> free_;
};

// One try with a given number of racks.
class Dealer {
 public:
  Dealer(const Fabric& fabric, const Section& spec, CablingPlan& plan)
      : fabric_(fabric), spec_(spec), plan_(plan), room_(plan.racks.size(), plan.rules.rack_units) {
    plan_.switches.assign(fabric.switches.size(), {});
    plan_.servers.assign(fabric.servers.size(), {});
  }

  void fix_places() {
    std::map<std::string, std::uint32_t> racks;
    for (std::uint32_t i = 0; i < plan_.racks.size(); ++i) racks[plan_.racks[i].name] = i;
    std::map<std::string, Place*> devices;
    for (std::uint32_t i = 0; i < plan_.switches.size(); ++i) {
      devices[fabric_.switches[i].name] = &plan_.switches[i];
    }
    for (std::uint32_t i = 0; i < plan_.servers.size(); ++i) {
      devices[fabric_.servers[i].name] = &plan_.servers[i];
    }
    for (const FixedPlace& fixed : plan_.rules.fixed) {
      const auto found = devices.find(fixed.device);
      if (found == devices.end()) {
        spec_.complain("places", fmt::format("there is no device '{}'", fixed.device));
      }
      if (found->second->units != 0) {
        spec_.complain("places", fmt::format("'{}' has two places", fixed.device));
      }
      const bool is_switch = found->second >= plan_.switches.data() &&
                             found->second < plan_.switches.data() + plan_.switches.size();
      *found->second = {.rack = racks.at(fixed.rack),
                        .u = fixed.u,
                        .units = is_switch ? plan_.rules.switch_units : plan_.rules.server_units};
      if (room_.take(*found->second)) continue;
      spec_.complain("places", fmt::format("'{}' does not fit at {} unit {}: taken, or above the "
                                           "top",
                                           fixed.device, fixed.rack, fixed.u));
    }
  }

  // False if the racks are too few.
  bool deal() {
    std::map<std::pair<std::uint32_t, Side>, std::uint32_t> layers;
    for (const Switch& one : fabric_.switches) ++layers[{one.plane, one.side}];
    for (std::uint32_t i = 0; i < plan_.switches.size(); ++i) {
      const Switch& one = fabric_.switches[i];
      const std::uint32_t share = share_of(one.place, layers[{one.plane, one.side}]);
      if (!settle(plan_.switches[i], share, plan_.rules.switch_units, true)) return false;
    }
    const auto servers = static_cast<std::uint32_t>(plan_.servers.size());
    for (std::uint32_t i = 0; i < servers; ++i) {
      const std::uint32_t home = home_of(fabric_.servers[i], share_of(i, servers));
      if (!settle(plan_.servers[i], home, plan_.rules.server_units, false)) {
        return false;
      }
    }
    return true;
  }

 private:
  // The rack with the most of its switches; `share` if that is one of several.
  std::uint32_t home_of(const Server& server, std::uint32_t share) const {
    std::map<std::uint32_t, std::uint32_t> switches;  // By rack.
    for (const NicId nic : server.nics) {
      ++switches[plan_.switches[index(fabric_.at(nic).at)].rack];
    }
    std::uint32_t best = share;  // Counted as 0 where it has none.
    for (const auto& [rack, count] : switches) {
      if (count > switches[best]) best = rack;
    }
    return best;
  }

  std::uint32_t share_of(std::uint64_t number, std::uint64_t of) const {
    const std::uint64_t racks = plan_.racks.size();
    return static_cast<std::uint32_t>(number * racks / of % racks);
  }

  bool settle(Place& place, std::uint32_t rack, std::uint32_t units, bool from_top) {
    if (place.units != 0) return true;  // Fixed.
    const auto found = room_.find(rack, units, from_top);
    if (!found) return false;
    place = *found;
    return room_.take(place);
  }

  const Fabric& fabric_;
  const Section& spec_;
  CablingPlan& plan_;
  Room room_;
};

std::vector<Rack> numbered_racks(std::uint64_t count, std::uint32_t per_row) {
  std::vector<Rack> racks;
  for (std::uint32_t i = 0; i < count; ++i) {
    racks.push_back(
        {.name = fmt::format("rack{:02}", i), .row = i / per_row, .place = i % per_row});
  }
  return racks;
}

}  // namespace

void place_devices(const Fabric& fabric, const Section& spec, CablingPlan& plan) {
  const CablingRules& rules = plan.rules;
  const std::uint64_t needed = fabric.switches.size() * std::uint64_t{rules.switch_units} +
                               fabric.servers.size() * std::uint64_t{rules.server_units};
  std::uint64_t count = (needed + rules.rack_units - 1) / rules.rack_units;
  const bool is_free = rules.racks.empty();
  for (;; count += 1 + count / 16) {
    plan.racks = is_free ? numbered_racks(count, rules.racks_per_row) : rules.racks;
    Dealer dealer(fabric, spec, plan);
    dealer.fix_places();
    if (dealer.deal()) return;
    if (is_free) continue;
    spec.complain("racks",
                  fmt::format("{} racks of {} units cannot hold {} switches of {} and {} "
                              "servers of {} units; give more racks",
                              plan.racks.size(), rules.rack_units, fabric.switches.size(),
                              rules.switch_units, fabric.servers.size(), rules.server_units));
  }
}

}  // namespace accl::topology
