// readers.h - readers of what was built. Each throws Error(invalid_argument) that names file, place
// and reason for input that is not what it should be.
#pragma once

#include <string>
#include <string_view>

#include "topology/check/observed.h"

namespace accl::topology {

// `lldpcli -f json show neighbors`, or with -f json0 (lldpd 1.0). The output does not say whose it
// is, so it comes as one of
//   {"HOST": OUTPUT, ...}                         of many devices,
//   [{"host": "HOST", "lldp": ...}, ...]          the same as a list of outputs with a name added,
//   OUTPUT                                        of one device, which is `host`.
// Neighbours that speak no LLDP by a name are left out: nobody can tell which device they are.
Observation parse_lldp(std::string_view text, const std::string& path, const std::string& host);

// A file of that, or a folder with a file HOST.json a device. The name of a single file is the host
// of a bare output: "server03.json".
Observation read_lldp(const std::string& path);

// A CSV list with columns a_device, a_port, b_device, b_port and perhaps gbps (our own cut sheet),
// or side_a_device, side_a_name, side_b_device, side_b_name (NetBox). Rows whose status is
// "decommissioning" or "removed" do not count.
Observation parse_cables(std::string_view text, const std::string& path);

// What ibnetdiscover prints. Devices go by their node description: "MF0;NAME:MODEL/U1" and "NAME"
// of switches, "HOST NIC" of adapters ("server03 mlx5_1", "server03 HCA-2"). Ports that nobody is
// at the other end of are not in it, so a cable that is down is one that is missing.
Observation parse_ibnetdiscover(std::string_view text, const std::string& path);

// Of a node in that file.
struct IbCounts {
  std::size_t switches = 0;
  std::size_t adapters = 0;
  std::size_t link_ends = 0;
};
IbCounts count_ibnetdiscover(std::string_view text, const std::string& path);

// "4xEDR" is 100; 0 where the words are not known.
double gbps_of_infiniband(std::string_view speed);

}  // namespace accl::topology
