#include "topology/cabling/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace accl::topology {
namespace {

constexpr std::size_t flag_columns = 28;

double distance_m(const LengthRules& rules, const CablingPlan& plan, const Place& a,
                  const Place& b) {
  const double rise = rules.unit_m * std::abs(static_cast<double>(a.u) - b.u);
  if (a.rack == b.rack) return rise + rules.inside_rack_m + rules.slack_m;
  const Rack& rack_a = plan.racks[a.rack];
  const Rack& rack_b = plan.racks[b.rack];
  const double units_up = 2.0 * plan.rules.rack_units - a.u - b.u;
  const double racks = std::abs(static_cast<double>(rack_a.place) - rack_b.place);
  const double rows = std::abs(static_cast<double>(rack_a.row) - rack_b.row);
  return rules.unit_m * units_up + 2 * rules.to_tray_m + rules.between_racks_m * racks +
         rules.between_rows_m * rows + rules.slack_m;
}

// The rules name metres with few digits; a sum of them must not miss one by its last bit.
constexpr double tolerance_m = 1e-9;

class Planner {
 public:
  Planner(const Fabric& fabric, const Section& spec, CablingPlan& plan)
      : fabric_(fabric), spec_(spec), plan_(plan), ports_(fabric, plan.rules.ports) {}

  void plan_cables() {
    plan_.cables.reserve(fabric_.cables.size());
    for (std::uint32_t i = 0; i < fabric_.cables.size(); ++i) {
      const Cable& cable = fabric_.cables[i];
      const double needed_m =
          distance_m(plan_.rules.lengths, plan_, place(cable.a), place(cable.b));
      PlannedCable planned;
      planned.length_m = bought(CableId{i}, needed_m);
      planned.type = type_for(CableId{i}, planned.length_m);
      planned.color = color_of(cable);
      plan_.cables.push_back(std::move(planned));
    }
  }

 private:
  const Place& place(const CableEnd& end) const {
    return place_of(fabric_, plan_, ports_, end.node);
  }

  double bought(CableId id, double needed_m) const {
    const auto& allowed = plan_.rules.lengths.allowed_m;
    const auto found = std::ranges::lower_bound(allowed, needed_m - tolerance_m);
    if (found != allowed.end()) return *found;
    spec_.complain(
        fmt::format("{} needs {:.1f} m, and lengths.allowed_m ends at {} m; add a "
                    "longer one, or place the racks closer",
                    fabric_.name_of(id), needed_m, allowed.back()));
  }

  std::uint32_t type_for(CableId id, double length_m) const {
    const auto& types = plan_.rules.types;
    const auto found = std::ranges::find_if(
        types, [&](const CableType& type) { return length_m <= type.up_to_m + tolerance_m; });
    if (found != types.end()) return static_cast<std::uint32_t>(found - types.begin());
    spec_.complain("types", fmt::format("none reaches {} m, which {} needs; add one, or raise "
                                        "up_to_m of {}",
                                        length_m, fabric_.name_of(id), types.back().name));
  }

  const std::string& color_of(const Cable& cable) const {
    const Colors& colors = plan_.rules.colors;
    if (cable.joins_switches) return colors.between;
    const Switch& at = fabric_.at(*ports_.switch_of(cable.b.node));
    return at.side == Side::lower ? colors.lower : colors.upper;
  }

  const Fabric& fabric_;
  const Section& spec_;
  CablingPlan& plan_;
  Ports ports_;
};

void check_nic_ports(const Fabric& fabric, const Section& spec, const CablingRules& rules) {
  const std::size_t named = rules.ports.nic_ports.size();
  if (named == 0) return;
  for (const Server& server : fabric.servers) {
    if (server.nics.size() <= named) continue;
    spec.complain("nic_ports", fmt::format("names {} interfaces, and {} has {} NICs", named,
                                           server.name, server.nics.size()));
  }
}

std::string shortened(const std::string& text) {
  if (text.size() <= flag_columns) return text;
  const std::size_t tail = flag_columns / 2;
  const std::size_t head = flag_columns - tail - 2;
  return text.substr(0, head) + ".." + text.substr(text.size() - tail);
}

}  // namespace

const Place& place_of(const Fabric& fabric, const CablingPlan& plan, const Ports& ports,
                      NodeId node) {
  if (const auto id = ports.switch_of(node)) return plan.switches[index(*id)];
  return plan.servers[index(fabric.at(*ports.nic_of(node)).server)];
}

Flag flag_of(const Fabric& fabric, const Ports& ports, CableId id, const CableEnd& here) {
  const Cable& cable = fabric.at(id);
  const bool is_a = here.node == cable.a.node && here.port == cable.a.port;
  const CableEnd& there = is_a ? cable.b : cable.a;
  return {.here = shortened(fmt::format("{} {}", label_of(id), ports.text_of(here))),
          .there = shortened(fmt::format("to {}", ports.text_of(there)))};
}

CablingPlan plan_cabling(const Fabric& fabric, Section cabling) {
  CablingPlan plan;
  plan.rules = read_cabling(cabling);
  check_nic_ports(fabric, cabling, plan.rules);
  place_devices(fabric, cabling, plan);
  Planner(fabric, cabling, plan).plan_cables();
  return plan;
}

}  // namespace accl::topology
