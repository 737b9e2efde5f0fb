// rules.h - what the owner of a cluster says of its racks and cables: the section `cabling` of a
// spec. Everything has a default; docs/cabling.md explains every key.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "topology/fabric/section.h"

namespace accl::topology {

// Cables of one kind, used for every length up to theirs that no shorter kind covers.
struct CableType {
  std::string name;  // "DAC": on the bill.
  double up_to_m = 0;
  double price = 0;  // Of one cable; 0: nobody said.
  double price_per_m = 0;
  std::uint32_t transceivers = 0;  // Bought beside it, for both ends together.
  double transceiver_price = 0;    // Of one.
};

// How long a cable must be. Cables inside a rack go straight, others over a tray above the racks.
struct LengthRules {
  double unit_m = 0.0445;  // The height of a rack unit.
  double inside_rack_m = 0.3;
  double to_tray_m = 0.5;  // From the top of a rack.
  double between_racks_m = 0.6;
  double between_rows_m = 3.0;
  double slack_m = 0.3;
  std::vector<double> allowed_m;  // Rising; what can be bought.
};

// Whom a rack belongs to and where it stands.
struct Rack {
  std::string name;
  std::uint32_t row = 0;
  std::uint32_t place = 0;  // In its row.
};

// Where one device must stand.
struct FixedPlace {
  std::string device;
  std::string rack;
  std::uint32_t u = 0;  // Its lowest unit, from 1 at the bottom.
};

struct Colors {
  std::string upper;  // Of cables from NICs to the upper layer, or to a graph without layers.
  std::string lower;
  std::string between;  // Switches.
};

// What interfaces are called by the systems that run on the devices.
struct PortRules {
  std::string switch_port = "swp{}";
  std::vector<std::string> nic_ports;  // By place in the server; none: the NIC's own names.
};

struct CablingRules {
  std::vector<Rack> racks;  // None: as many as are needed.
  std::uint32_t racks_per_row = 10;
  std::uint32_t rack_units = 42;
  std::uint32_t switch_units = 1;
  std::uint32_t server_units = 4;
  std::vector<FixedPlace> fixed;
  LengthRules lengths;
  std::vector<CableType> types;  // Rising in length.
  PortRules ports;
  Colors colors;
  std::string site = "site";
  std::string switch_model = "switch";
  std::string server_model = "server";
  double switch_price = 0;
};

// Reads and finishes the section. Throws Error(invalid_argument) that names file and line.
CablingRules read_cabling(Section& section);

// Six hexadecimal digits, as NetBox wants them; only of the colours that the section allows.
std::string hex_of_color(const std::string& name);

}  // namespace accl::topology
