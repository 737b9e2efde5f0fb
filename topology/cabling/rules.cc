#include "topology/cabling/rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <string_view>
#include <utility>

#include "accl/base/assert.h"

namespace accl::topology {
namespace {

constexpr Bounds metre_bounds{0, 1000};
constexpr Bounds price_bounds{0, 1e9};
constexpr std::size_t max_racks = 10000;

struct Color {
  std::string_view name;
  std::string_view hex;
};
constexpr std::array<Color, 12> colors{{{"blue", "2196f3"},
                                        {"green", "4caf50"},
                                        {"orange", "ff9800"},
                                        {"red", "f44336"},
                                        {"yellow", "ffeb3b"},
                                        {"purple", "9c27b0"},
                                        {"pink", "e91e63"},
                                        {"teal", "009688"},
                                        {"brown", "795548"},
                                        {"grey", "9e9e9e"},
                                        {"black", "111111"},
                                        {"white", "ffffff"}}};

// What may stand in every export without being quoted, escaped or read as a formula.
bool is_plain(std::string_view text) {
  constexpr std::string_view marks = "-_./:+ ()";
  const auto is_alnum = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  return !text.empty() && text.size() <= 64 && is_alnum(text.front()) && text.back() != ' ' &&
         std::ranges::all_of(
             text, [&](char c) { return is_alnum(c) || marks.find(c) != std::string_view::npos; });
}

std::string plain_text(Section& section, const std::string& key, const std::string& otherwise) {
  std::string text = section.text(key, otherwise);
  if (is_plain(text)) return text;
  section.complain(key, fmt::format("'{}' must be 1 to 64 letters, digits, spaces and "
                                    "- _ . / : + ( ), with a letter or digit first",
                                    text));
}

std::vector<Rack> read_racks(Section& section, std::uint32_t per_row) {
  std::vector<Rack> racks;
  std::set<std::string> names;
  for (const std::string& name : section.texts("racks")) {
    const auto number = static_cast<std::uint32_t>(racks.size());
    if (!is_plain(name)) section.complain("racks", fmt::format("'{}' is no plain name", name));
    if (!names.insert(name).second) section.complain("racks", name + " comes twice");
    racks.push_back({.name = name, .row = number / per_row, .place = number % per_row});
  }
  if (racks.size() > max_racks) {
    section.complain("racks", fmt::format("are more than {}", max_racks));
  }
  return racks;
}

std::vector<FixedPlace> read_places(Section& section, const CablingRules& rules) {
  std::vector<FixedPlace> places;
  const Bounds units{1, static_cast<double>(rules.rack_units)};
  for (Section& entry : section.sections("places")) {
    FixedPlace place;
    place.device = entry.text("device");
    place.rack = entry.text("rack");
    place.u = entry.count("u", units);
    const bool is_known =
        std::ranges::any_of(rules.racks, [&](const Rack& rack) { return rack.name == place.rack; });
    if (!is_known) entry.complain("rack", fmt::format("'{}' is not among `racks`", place.rack));
    entry.finish();
    places.push_back(std::move(place));
  }
  return places;
}

LengthRules read_lengths(Section section) {
  LengthRules rules;
  rules.unit_m = section.number("unit_m", metre_bounds, rules.unit_m);
  rules.inside_rack_m = section.number("inside_rack_m", metre_bounds, rules.inside_rack_m);
  rules.to_tray_m = section.number("to_tray_m", metre_bounds, rules.to_tray_m);
  rules.between_racks_m = section.number("between_racks_m", metre_bounds, rules.between_racks_m);
  rules.between_rows_m = section.number("between_rows_m", metre_bounds, rules.between_rows_m);
  rules.slack_m = section.number("slack_m", metre_bounds, rules.slack_m);
  rules.allowed_m = section.numbers("allowed_m", {0.01, 10000});
  if (rules.allowed_m.empty()) {
    rules.allowed_m = {0.5, 1, 1.5, 2, 2.5, 3, 5, 7, 10, 15, 20, 30, 50, 100, 150, 300, 500};
  }
  std::ranges::sort(rules.allowed_m);
  section.finish();
  return rules;
}

std::vector<CableType> read_types(Section& section) {
  std::vector<CableType> types;
  for (Section& entry : section.sections("types")) {
    CableType type;
    type.name = plain_text(entry, "name", "");
    type.up_to_m = entry.number("up_to_m", {0.01, 100000}, 100000);
    type.price = entry.number("price", price_bounds, 0);
    type.price_per_m = entry.number("price_per_m", price_bounds, 0);
    type.transceivers = entry.count("transceivers", {0, 16}, 0);
    type.transceiver_price = entry.number("transceiver_price", price_bounds, 0);
    entry.finish();
    if (!types.empty() && types.back().up_to_m >= type.up_to_m) {
      entry.complain("up_to_m", "must be more than that of the type before it");
    }
    types.push_back(std::move(type));
  }
  if (!types.empty()) return types;
  return {{.name = "DAC", .up_to_m = 3},
          {.name = "AOC", .up_to_m = 30},
          {.name = "optics", .up_to_m = 100000, .transceivers = 2}};
}

Colors read_colors(Section section) {
  const auto ask = [&](const std::string& key, std::string_view otherwise) {
    std::vector<std::string_view> names{otherwise};
    for (const Color& color : colors) {
      if (color.name != otherwise) names.push_back(color.name);
    }
    return section.choice(key, names);
  };
  Colors chosen{.upper = ask("upper", "blue"),
                .lower = ask("lower", "green"),
                .between = ask("between", "orange")};
  section.finish();
  return chosen;
}

PortRules read_ports(Section& section) {
  PortRules ports;
  ports.switch_port = section.text("switch_port", ports.switch_port);
  const std::size_t at = ports.switch_port.find("{}");
  const bool is_once =
      at != std::string::npos && ports.switch_port.find_first_of("{}", at + 2) == std::string::npos;
  if (!is_once || ports.switch_port.find_first_of("{}") != at) {
    section.complain("switch_port", "must hold {} once, where the number of the port goes");
  }
  const std::string_view pattern = ports.switch_port;
  if (!is_plain(fmt::format("{}1{}", pattern.substr(0, at), pattern.substr(at + 2)))) {
    section.complain("switch_port", "must be plain: letters, digits and - _ . / :");
  }
  ports.nic_ports = section.texts("nic_ports");
  std::set<std::string> names;
  for (const std::string& name : ports.nic_ports) {
    if (!is_plain(name)) section.complain("nic_ports", fmt::format("'{}' is no plain name", name));
    if (!names.insert(name).second) section.complain("nic_ports", name + " comes twice");
  }
  return ports;
}

}  // namespace

std::string hex_of_color(const std::string& name) {
  const auto found = std::ranges::find(colors, name, &Color::name);
  ACCL_ASSERT(found != colors.end(), name);
  return std::string(found->hex);
}

CablingRules read_cabling(Section& section) {
  CablingRules rules;
  rules.racks_per_row = section.count("racks_per_row", {1, 1000}, rules.racks_per_row);
  rules.racks = read_racks(section, rules.racks_per_row);
  rules.rack_units = section.count("rack_units", {1, 100}, rules.rack_units);
  const Bounds heights{1, static_cast<double>(rules.rack_units)};
  rules.switch_units = section.count("switch_units", heights, 1);
  rules.server_units = section.count("server_units", heights, std::min(4u, rules.rack_units));
  rules.fixed = read_places(section, rules);
  rules.lengths = read_lengths(section.section("lengths"));
  rules.types = read_types(section);
  rules.ports = read_ports(section);
  rules.colors = read_colors(section.section("colors"));
  rules.site = plain_text(section, "site", rules.site);
  rules.switch_model = plain_text(section, "switch_model", rules.switch_model);
  rules.server_model = plain_text(section, "server_model", rules.server_model);
  rules.switch_price = section.number("switch_price", price_bounds, 0);
  section.finish();
  return rules;
}

}  // namespace accl::topology
