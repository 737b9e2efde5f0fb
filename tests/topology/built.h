// built.h - a fabric and its cabling plan from the text of a spec.
#pragma once

#include <string>
#include <string_view>

#include "topology/cabling/plan.h"
#include "topology/fabric/spec.h"

namespace accl::topology {

struct Built {
  Fabric fabric;
  CablingPlan plan;
};

inline Built build(std::string_view text) {
  Section spec = Section::parse(text, "spec.yaml");
  Fabric fabric = read_fabric(spec);
  CablingPlan plan = plan_cabling(fabric, spec.section("cabling"));
  return {std::move(fabric), std::move(plan)};
}

// Two switches a layer, two NICs a server, one at each layer.
constexpr std::string_view tiny = R"(name: tiny
topology: bigraph
servers: {count: 4, gpus: 2, nics: 2, name: "server{:02}"}
upper: {switches: 2, nics: 2}
lower: {switches: 2, nics: 2}
attach: spread
gbps: 100
)";

constexpr std::string_view doubled = R"(name: doubled
topology: bigraph
servers: {count: 28, gpus: 2, nics: 2}
upper: {switches: 4, nics: [8, 8, 6, 6]}
lower: {switches: 4, nics: [8, 8, 8, 4]}
cables_per_pair: 2
attach: spread
switch_ports: 16
gbps: 200
cabling:
  server_units: 2
  switch_port: "Ethernet1/{}"
  nic_ports: [ens1np0, ens2np0]
  types:
    - {name: DAC, up_to_m: 2, price: 80, price_per_m: 10}
    - {name: SMF, transceivers: 2, transceiver_price: 400, price: 20}
  switch_price: 20000
)";

constexpr std::string_view leaf_spine = R"(name: leaf spine, "quoted"
topology: leaf-spine
planes: 2
servers: {count: 8, nics: 4}
leaf: {switches: 4, nics: 4}
spine: {switches: 2}
cables_per_pair: 2
gbps: 400
)";

constexpr std::string_view ring = R"(name: ring
topology: graph
switches: [{name: s0}, {name: s1}, {name: s2}]
servers:
  - {name: "node-a", nics: [s0, s1]}
  - {name: "+node", nics: [s2]}
cables: [{a: s0, b: s1}, {a: s1, b: s2, count: 2}, {a: s2, b: s0, gbps: 25}]
)";

}  // namespace accl::topology
