#include "topology/cabling/bill.h"

#include <algorithm>
#include <map>
#include <utility>

namespace accl::topology {
namespace {

std::uint64_t shares(std::uint64_t of, std::uint64_t size) { return (of + size - 1) / size; }

}  // namespace

std::vector<BillLine> bill_of(const Fabric& fabric, const CablingPlan& plan) {
  std::vector<BillLine> bill;
  bill.push_back({.item = "switch",
                  .model = plan.rules.switch_model,
                  .count = fabric.switches.size(),
                  .unit_price = plan.rules.switch_price});
  std::map<std::pair<std::uint32_t, double>, std::uint64_t> cables;
  for (const PlannedCable& cable : plan.cables) ++cables[{cable.type, cable.length_m}];
  std::map<std::uint32_t, std::uint64_t> transceivers;
  for (const auto& [kind, count] : cables) {
    const auto& [type, length_m] = kind;
    const CableType& rule = plan.rules.types[type];
    bill.push_back({.item = "cable",
                    .model = rule.name,
                    .length_m = length_m,
                    .count = count,
                    .unit_price = rule.price + rule.price_per_m * length_m});
    transceivers[type] += count * rule.transceivers;
  }
  for (const auto& [type, count] : transceivers) {
    if (count == 0) continue;
    const CableType& rule = plan.rules.types[type];
    bill.push_back({.item = "transceiver",
                    .model = rule.name,
                    .count = count,
                    .unit_price = rule.transceiver_price});
  }
  return bill;
}

Counts counts_of(const Fabric& fabric) {
  Counts counts;
  counts.levels = fabric.kind == FabricKind::graph ? 0 : 2;
  counts.switches = fabric.switches.size();
  for (const Cable& cable : fabric.cables) {
    ++(cable.joins_switches ? counts.switch_cables : counts.nic_cables);
  }
  return counts;
}

std::uint32_t radix_of(const Fabric& fabric) {
  std::uint32_t radix = 0;
  for (const Switch& one : fabric.switches) {
    const auto used = static_cast<std::uint32_t>(fabric.graph.leaving(one.node).size());
    radix = std::max({radix, one.ports, used});
  }
  return radix;
}

std::optional<Counts> fat_tree_counts(std::uint64_t nics, std::uint64_t radix) {
  if (nics <= radix) return Counts{.levels = 1, .switches = 1, .nic_cables = nics};
  const std::uint64_t half = radix / 2;
  if (half == 0) return {};
  const std::uint64_t leaves = shares(nics, half);
  if (leaves <= radix) {
    return Counts{.levels = 2,
                  .switches = leaves + shares(leaves * half, radix),
                  .nic_cables = nics,
                  .switch_cables = leaves * half};
  }
  // Pods of `half` leaves and as many switches above them; a core switch meets every pod once.
  const std::uint64_t pods = shares(leaves, half);
  if (pods > radix) return {};
  const std::uint64_t above = pods * half;
  return Counts{.levels = 3,
                .switches = leaves + above + shares(above * half, radix),
                .nic_cables = nics,
                .switch_cables = leaves * half + above * half};
}

std::optional<Counts> fat_tree_counts(const Fabric& fabric) {
  const std::uint64_t planes = fabric.planes;
  const auto one = fat_tree_counts(shares(fabric.nics.size(), planes), radix_of(fabric));
  if (!one) return {};
  return Counts{.levels = one->levels,
                .switches = one->switches * planes,
                .nic_cables = fabric.nics.size(),
                .switch_cables = one->switch_cables * planes};
}

}  // namespace accl::topology
