// export_tables.cc - the exports that are tables.
#include <fmt/format.h>

#include <array>
#include <utility>

#include "topology/cabling/bill.h"
#include "topology/cabling/csv.h"
#include "topology/cabling/exports.h"

namespace accl::topology {
namespace {

std::string text_of(double value) { return fmt::format("{}", value); }

std::string price_text(double value) { return value == 0 ? "" : fmt::format("{:.2f}", value); }

// The cable type of NetBox that a name most likely means; empty lets people choose there.
std::string_view netbox_cable_type(const std::string& name) {
  if (name.find("DAC") != std::string::npos) return "dac-passive";
  if (name.find("AOC") != std::string::npos) return "aoc";
  if (name.find("MMF") != std::string::npos) return "mmf";
  if (name.find("SMF") != std::string::npos) return "smf";
  return "";
}

std::string_view netbox_interface_type(double gbps) {
  constexpr std::array<std::pair<double, std::string_view>, 8> types{{{10, "10gbase-x-sfpp"},
                                                                      {25, "25gbase-x-sfp28"},
                                                                      {40, "40gbase-x-qsfpp"},
                                                                      {50, "50gbase-x-sfp56"},
                                                                      {100, "100gbase-x-qsfp28"},
                                                                      {200, "200gbase-x-qsfp56"},
                                                                      {400, "400gbase-x-osfp"},
                                                                      {800, "800gbase-x-osfp"}}};
  for (const auto& [speed, type] : types) {
    if (speed == gbps) return type;
  }
  return "other";
}

struct EndText {
  std::string row;
  std::string rack;
  std::string u;
  NamedEnd name;
  std::string label;  // Both lines of the flag.
};

EndText end_text(const Fabric& fabric, const CablingPlan& plan, const Ports& ports, CableId id,
                 const CableEnd& end) {
  const Place& place = place_of(fabric, plan, ports, end.node);
  const Flag flag = flag_of(fabric, ports, id, end);
  return {.row = fmt::format("{}", plan.racks[place.rack].row + 1),
          .rack = plan.racks[place.rack].name,
          .u = fmt::format("{}", place.u),
          .name = ports.name_of(end),
          .label = flag.here + " | " + flag.there};
}

std::string bill_row(std::string_view network, const BillLine& line) {
  return csv_line({network, line.item, line.model, line.length_m == 0 ? "" : text_of(line.length_m),
                   fmt::format("{}", line.count), price_text(line.unit_price),
                   price_text(line.unit_price * static_cast<double>(line.count))});
}

std::string device_row(const CablingPlan& plan, std::string_view name, std::string_view role,
                       std::string_view model, const Place& place) {
  return csv_line({name, role, "generic", model, "planned", plan.rules.site,
                   plan.racks[place.rack].name, fmt::format("{}", place.u), "front"});
}

}  // namespace

std::string cut_sheet_csv(const Fabric& fabric, const CablingPlan& plan) {
  const Ports ports(fabric, plan.rules.ports);
  std::string text = csv_line({"cable", "status", "medium", "length_m", "color", "gbps", "a_row",
                               "a_rack", "a_u", "a_device", "a_port", "a_label", "b_row", "b_rack",
                               "b_u", "b_device", "b_port", "b_label"});
  for (std::uint32_t i = 0; i < fabric.cables.size(); ++i) {
    const CableId id{i};
    const Cable& cable = fabric.at(id);
    const EndText a = end_text(fabric, plan, ports, id, cable.a);
    const EndText b = end_text(fabric, plan, ports, id, cable.b);
    text +=
        csv_line({label_of(id), "planned", plan.type_of(id).name, text_of(plan.at(id).length_m),
                  plan.at(id).color, text_of(cable.gbps), a.row, a.rack, a.u, a.name.device,
                  a.name.port, a.label, b.row, b.rack, b.u, b.name.device, b.name.port, b.label});
  }
  return text;
}

std::string bill_csv(const Fabric& fabric, const CablingPlan& plan) {
  std::string text =
      csv_line({"network", "item", "model", "length_m", "count", "unit_price", "price"});
  for (const BillLine& line : bill_of(fabric, plan)) text += bill_row("planned", line);
  const auto tree = fat_tree_counts(fabric);
  if (!tree) return text;
  const std::string name = fmt::format("fat tree of {} levels", tree->levels);
  text += bill_row(name, {.item = "switch",
                          .model = plan.rules.switch_model,
                          .count = tree->switches,
                          .unit_price = plan.rules.switch_price});
  text += bill_row(name, {.item = "cable", .model = "NIC to switch", .count = tree->nic_cables});
  text +=
      bill_row(name, {.item = "cable", .model = "switch to switch", .count = tree->switch_cables});
  return text;
}

std::string netbox_racks_csv(const Fabric&, const CablingPlan& plan) {
  std::string text = csv_line({"site", "name", "status", "width", "u_height"});
  for (const Rack& rack : plan.racks) {
    text += csv_line(
        {plan.rules.site, rack.name, "planned", "19", fmt::format("{}", plan.rules.rack_units)});
  }
  return text;
}

std::string netbox_devices_csv(const Fabric& fabric, const CablingPlan& plan) {
  std::string text = csv_line({"name", "role", "manufacturer", "device_type", "status", "site",
                               "rack", "position", "face"});
  for (std::uint32_t i = 0; i < fabric.switches.size(); ++i) {
    text += device_row(plan, fabric.switches[i].name, "switch", plan.rules.switch_model,
                       plan.switches[i]);
  }
  for (std::uint32_t i = 0; i < fabric.servers.size(); ++i) {
    text += device_row(plan, fabric.servers[i].name, "server", plan.rules.server_model,
                       plan.servers[i]);
  }
  return text;
}

std::string netbox_interfaces_csv(const Fabric& fabric, const CablingPlan& plan) {
  const Ports ports(fabric, plan.rules.ports);
  std::string text = csv_line({"device", "name", "type", "enabled"});
  for (const Cable& cable : fabric.cables) {
    for (const CableEnd& end : {cable.a, cable.b}) {
      const NamedEnd name = ports.name_of(end);
      text += csv_line({name.device, name.port, netbox_interface_type(cable.gbps), "true"});
    }
  }
  return text;
}

std::string netbox_cables_csv(const Fabric& fabric, const CablingPlan& plan) {
  const Ports ports(fabric, plan.rules.ports);
  std::string text =
      csv_line({"side_a_device", "side_a_type", "side_a_name", "side_b_device", "side_b_type",
                "side_b_name", "type", "status", "label", "color", "length", "length_unit"});
  for (std::uint32_t i = 0; i < fabric.cables.size(); ++i) {
    const CableId id{i};
    const NamedEnd a = ports.name_of(fabric.at(id).a);
    const NamedEnd b = ports.name_of(fabric.at(id).b);
    text += csv_line({a.device, "dcim.interface", a.port, b.device, "dcim.interface", b.port,
                      netbox_cable_type(plan.type_of(id).name), "planned", label_of(id),
                      hex_of_color(plan.at(id).color), text_of(plan.at(id).length_m), "m"});
  }
  return text;
}

}  // namespace accl::topology
