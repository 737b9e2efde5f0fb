// exports.h - a plan in the formats of those who build, run and watch a cluster. Every export is a
// pure function of fabric and plan and gives the same bytes on every run; docs/cabling.md shows
// each.
#pragma once

#include <string>
#include <vector>

#include "topology/cabling/plan.h"

namespace accl::topology {

struct ExportFile {
  std::string name;
  std::string text;
};

// All of those below, under the names they have on disk.
std::vector<ExportFile> all_exports(const Fabric& fabric, const CablingPlan& plan);

// One row a cable: what the people who pull cables work from, and `verify --cables` reads.
std::string cut_sheet_csv(const Fabric& fabric, const CablingPlan& plan);
// What to buy, and below it what a fat tree would take.
std::string bill_csv(const Fabric& fabric, const CablingPlan& plan);

// For NetBox, to be imported in this order (site and models must exist).
std::string netbox_racks_csv(const Fabric& fabric, const CablingPlan& plan);
std::string netbox_devices_csv(const Fabric& fabric, const CablingPlan& plan);
std::string netbox_interfaces_csv(const Fabric& fabric, const CablingPlan& plan);
std::string netbox_cables_csv(const Fabric& fabric, const CablingPlan& plan);

// The topology.dot of PTM, which Cumulus switches compare with LLDP; NVIDIA Air takes it too.
std::string ptm_dot(const Fabric& fabric, const CablingPlan& plan);
// What ibnetdiscover would print of the cluster; ibsim plays it. Every NIC is a channel adapter
// with one port, called "SERVER NIC". GUIDs follow from the order of the devices.
std::string ibnetdiscover_text(const Fabric& fabric, const CablingPlan& plan);
// Slurm's topology.conf: a leaf a switch below one virtual root. Slurm wants every node at one
// leaf; it is that of the server's first NIC.
std::string slurm_conf(const Fabric& fabric, const CablingPlan& plan);
// A lab of containers with the same cables, for containerlab.
std::string containerlab_yaml(const Fabric& fabric, const CablingPlan& plan);

// "server[00-03,07],login": names as Slurm lists them, in the order of names and numbers.
std::string host_list(std::vector<std::string> names);

// How ibnetdiscover writes the width and speed of a link, "4xEDR"; empty where no pair gives this.
std::string infiniband_speed(double gbps);

}  // namespace accl::topology
