#include "topology/fabric/spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <utility>

#include "accl/base/error.h"
#include "topology/fabric/builder.h"

namespace accl::topology {
namespace {

constexpr Bounds switch_bounds{1, 4096};
constexpr Bounds nic_bounds{0, 4096};
constexpr Bounds server_bounds{1, 65536};
constexpr Bounds gbps_bounds{0.001, 100000};
constexpr std::uint64_t max_cables = 1 << 20;
constexpr std::uint64_t max_nics = 1 << 16;

// The switches of one layer, the same in every plane.
struct Layer {
  Side side{};
  std::string pattern;
  std::vector<std::uint32_t> nics;  // By switch: ports for NICs.

  std::uint32_t all_nics() const { return std::accumulate(nics.begin(), nics.end(), 0u); }
  std::uint32_t size() const { return static_cast<std::uint32_t>(nics.size()); }
};

Layer read_layer(Section& spec, const std::string& key, Side side, bool has_nics) {
  Section section = spec.section(key);
  if (!spec.has(key)) spec.complain(key, "is missing: give its switches");
  Layer layer{.side = side, .pattern = section.text("name", key + "{}"), .nics = {}};
  const std::uint32_t switches = section.count("switches", switch_bounds);
  layer.nics.assign(switches, 0);
  if (has_nics) layer.nics = section.counts("nics", nic_bounds, switches);
  section.finish();
  return layer;
}

struct ServerRules {
  std::uint32_t count = 0;
  std::uint32_t gpus = 0;
  std::uint32_t nics = 0;
  std::string pattern;
  std::string nic_pattern;
};

ServerRules read_servers(Section& spec) {
  if (!spec.has("servers")) spec.complain("servers", "is missing");
  Section section = spec.section("servers");
  ServerRules rules;
  rules.count = section.count("count", server_bounds);
  rules.nics = section.count("nics", {1, 64}, 1);
  rules.gpus = section.count("gpus", {0, 64}, rules.nics);
  rules.pattern = section.text("name", "server{}");
  rules.nic_pattern = section.text("nic_name", "mlx5_{}");
  section.finish();
  return rules;
}

// Where the NICs of one plane go: the next free port of the wanted layer, switch by switch.
class Dealer {
 public:
  Dealer(Builder& builder, std::vector<SwitchId> switches, std::vector<std::uint32_t> ports)
      : builder_(builder), switches_(std::move(switches)), free_(std::move(ports)) {}

  bool is_full() {
    while (next_ < free_.size() && free_[next_] == 0) ++next_;
    return next_ == free_.size();
  }
  void deal(NicId nic, double gbps) {
    --free_[next_];
    builder_.plug(nic, switches_[next_], gbps);
  }
  // To the first switch from `first` on, in steps of `step`, that has a port left.
  bool deal_among(NicId nic, double gbps, std::uint32_t first, std::uint32_t step) {
    for (std::size_t at = first; at < free_.size(); at += step) {
      if (free_[at] == 0) continue;
      --free_[at];
      builder_.plug(nic, switches_[at], gbps);
      return true;
    }
    return false;
  }

 private:
  Builder& builder_;
  std::vector<SwitchId> switches_;
  std::vector<std::uint32_t> free_;
  std::size_t next_ = 0;
};

struct Rules {
  std::uint32_t planes = 1;
  std::uint32_t cables_per_pair = 1;
  std::uint32_t switch_ports = 0;
  double gbps = 0;
  double nic_gbps = 0;
  std::string attach;
  ServerRules servers;
  Layer upper;
  Layer lower;
};

void check_numbers(const Section& spec, const Rules& rules) {
  const std::uint32_t per_plane = rules.servers.nics / rules.planes;
  if (per_plane * rules.planes != rules.servers.nics) {
    spec.complain("planes", fmt::format("{} planes cannot share {} NICs of a server evenly",
                                        rules.planes, rules.servers.nics));
  }
  const std::uint64_t needed = std::uint64_t{rules.servers.count} * per_plane;
  const std::uint64_t offered = std::uint64_t{rules.upper.all_nics()} + rules.lower.all_nics();
  if (needed != offered) {
    spec.complain("servers",
                  fmt::format("{} servers with {} NICs in a plane need {} ports; the switches "
                              "of a plane give NICs {}",
                              rules.servers.count, per_plane, needed, offered));
  }
  const std::uint64_t joins =
      std::uint64_t{rules.upper.size()} * rules.lower.size() * rules.cables_per_pair * rules.planes;
  if (needed * rules.planes > max_nics || joins > max_cables) {
    spec.complain(fmt::format("{} NICs and {} cables between switches are more than {} and {}",
                              needed * rules.planes, joins, max_nics, max_cables));
  }
  for (const Layer* layer : {&rules.upper, &rules.lower}) {
    const Layer& other = layer == &rules.upper ? rules.lower : rules.upper;
    const std::uint64_t uplinks = std::uint64_t{other.size()} * rules.cables_per_pair;
    const std::uint64_t most = *std::max_element(layer->nics.begin(), layer->nics.end()) + uplinks;
    if (rules.switch_ports == 0 || most <= rules.switch_ports) continue;
    spec.complain(
        "switch_ports",
        fmt::format("{} switches need {} ports ({} to NICs, {} to switches) and have {}",
                    name_of(layer->side), most, most - uplinks, uplinks, rules.switch_ports));
  }
}

Rules read_rules(Section& spec, FabricKind kind) {
  constexpr std::array<std::string_view, 2> bigraph_ways{"block", "spread"};
  constexpr std::array<std::string_view, 2> leaf_ways{"block", "rail"};
  const bool is_bigraph = kind == FabricKind::bigraph;
  Rules rules;
  rules.planes = spec.count("planes", {1, 64}, 1);
  rules.cables_per_pair = spec.count("cables_per_pair", {1, 1024}, 1);
  rules.switch_ports = spec.count("switch_ports", {1, 65536}, 0);
  rules.gbps = spec.number("gbps", gbps_bounds, 100);
  rules.nic_gbps = spec.number("nic_gbps", gbps_bounds, rules.gbps);
  rules.attach = spec.choice("attach", is_bigraph ? bigraph_ways : leaf_ways);
  rules.servers = read_servers(spec);
  rules.upper = read_layer(spec, is_bigraph ? "upper" : "spine", Side::upper, is_bigraph);
  rules.lower = read_layer(spec, is_bigraph ? "lower" : "leaf", Side::lower, true);
  check_numbers(spec, rules);
  return rules;
}

std::vector<SwitchId> add_layer(Builder& builder, const Rules& rules, const Layer& layer,
                                std::uint32_t plane) {
  std::vector<SwitchId> ids;
  for (std::uint32_t place = 0; place < layer.size(); ++place) {
    std::string name = builder.numbered(layer.pattern, place);
    if (rules.planes > 1) name = fmt::format("plane{}-{}", plane, name);
    ids.push_back(builder.add_switch({.node = {},
                                      .name = name,
                                      .side = layer.side,
                                      .plane = plane,
                                      .place = place,
                                      .ports = rules.switch_ports}));
  }
  return ids;
}

void attach_nics(Builder& builder, const Rules& rules, std::uint32_t plane, Dealer& upper,
                 Dealer& lower) {
  const std::uint32_t per_plane = rules.servers.nics / rules.planes;
  for (const Server& server : builder.fabric().servers) {
    for (std::uint32_t k = 0; k < per_plane; ++k) {
      const NicId nic = server.nics[k * rules.planes + plane];
      const bool spread = rules.attach == "spread" && per_plane > 1;
      const bool wants_lower = spread ? k % 2 == 1 : upper.is_full();
      const bool is_rail = rules.attach == "rail";
      if (is_rail && lower.deal_among(nic, rules.nic_gbps, k, per_plane)) continue;
      const bool goes_lower = wants_lower ? !lower.is_full() : upper.is_full();
      (goes_lower ? lower : upper).deal(nic, rules.nic_gbps);
    }
  }
}

void build_layers(Builder& builder, const Rules& rules) {
  std::vector<std::vector<SwitchId>> uppers;
  std::vector<std::vector<SwitchId>> lowers;
  for (std::uint32_t plane = 0; plane < rules.planes; ++plane) {
    uppers.push_back(add_layer(builder, rules, rules.upper, plane));
    lowers.push_back(add_layer(builder, rules, rules.lower, plane));
  }
  for (std::uint32_t i = 0; i < rules.servers.count; ++i) {
    builder.add_server(builder.numbered(rules.servers.pattern, i), rules.servers.gpus,
                       rules.servers.nics, rules.servers.nic_pattern);
  }
  for (std::uint32_t plane = 0; plane < rules.planes; ++plane) {
    Dealer upper(builder, uppers[plane], rules.upper.nics);
    Dealer lower(builder, lowers[plane], rules.lower.nics);
    attach_nics(builder, rules, plane, upper, lower);
  }
  for (std::uint32_t plane = 0; plane < rules.planes; ++plane) {
    for (const SwitchId above : uppers[plane]) {
      for (const SwitchId below : lowers[plane]) {
        builder.join(above, below, rules.cables_per_pair, rules.gbps);
      }
    }
  }
}

}  // namespace

Fabric read_fabric(Section& spec) {
  constexpr std::array<std::string_view, 3> kinds{"bigraph", "leaf-spine", "graph"};
  Builder builder(spec);
  Fabric& fabric = builder.fabric();
  fabric.name = spec.text("name");
  if (!spec.has("topology")) spec.complain("topology", "is missing: bigraph, leaf-spine or graph");
  const std::string kind = spec.choice("topology", kinds);
  const auto number = std::ranges::find(kinds, kind) - kinds.begin();
  fabric.kind = static_cast<FabricKind>(number);
  Section latency = spec.section("latency");
  fabric.start_seconds = latency.number("start_us", {0, 1e6}, 2.0) * 1e-6;
  fabric.hop_seconds = latency.number("hop_us", {0, 1e6}, 0.5) * 1e-6;
  latency.finish();
  spec.section("cabling");  // Others read it.
  if (fabric.kind == FabricKind::graph) {
    build_graph(builder, spec);
  } else {
    const Rules rules = read_rules(spec, fabric.kind);
    fabric.planes = rules.planes;
    build_layers(builder, rules);
  }
  spec.finish();
  return builder.finish();
}

Fabric load_fabric(const std::string& path) {
  Section spec = Section::load(path);
  return read_fabric(spec);
}

}  // namespace accl::topology
