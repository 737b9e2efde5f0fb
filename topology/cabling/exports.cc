#include "topology/cabling/exports.h"

namespace accl::topology {

std::vector<ExportFile> all_exports(const Fabric& fabric, const CablingPlan& plan) {
  return {{"cables.csv", cut_sheet_csv(fabric, plan)},
          {"bill.csv", bill_csv(fabric, plan)},
          {"netbox-1-racks.csv", netbox_racks_csv(fabric, plan)},
          {"netbox-2-devices.csv", netbox_devices_csv(fabric, plan)},
          {"netbox-3-interfaces.csv", netbox_interfaces_csv(fabric, plan)},
          {"netbox-4-cables.csv", netbox_cables_csv(fabric, plan)},
          {"topology.dot", ptm_dot(fabric, plan)},
          {"fabric.ibnet", ibnetdiscover_text(fabric, plan)},
          {"topology.conf", slurm_conf(fabric, plan)},
          {"lab.clab.yml", containerlab_yaml(fabric, plan)}};
}

}  // namespace accl::topology
