// pci_test.cc - how far apart two devices are, by their places in sysfs.
#include "transport/verbs/pci.h"

#include <gtest/gtest.h>

#include "tests/verbs/rig.h"

namespace accl::test {
namespace {

using verbs::PciDistance;

TEST(VerbsPci, DistanceIsWhatLiesBetween) {
  const std::string port = "pci0000:16/0000:16:02.0/";         // A root port,
  const std::string top = port + "0000:17:00.0/";              // the upper side of a switch,
  const std::string low = top + "0000:18:04.0/0000:1e:00.0/";  // and one below it.
  struct Row {
    std::string gpu, nic;
    int gpu_node, nic_node;
    const char* distance;
  };
  const Row rows[] = {
      {top + "0000:18:00.0/0000:1a:00.0", top + "0000:18:01.0/0000:1c:00.0", 0, 0, "PIX"},
      {port + "0000:1a:00.0", port + "0000:1a:00.1", 0, 0, "PIX"},
      {top + "0000:18:00.0/0000:1a:00.0", low + "0000:1f:00.0/0000:20:00.0", 0, 0, "PXB"},
      {low + "0000:1f:00.0/0000:1a:00.0", low + "0000:1f:01.0/0000:21:00.0", 0, 0, "PIX"},
      {top + "0000:18:00.0/0000:1a:00.0", "pci0000:16/0000:16:04.0/0000:30:00.0", 0, 0, "PHB"},
      {"pci0000:16/0000:1a:00.0", "pci0000:16/0000:30:00.0", -1, -1, "PHB"},
      {top + "0000:18:00.0/0000:1a:00.0", "pci0000:40/0000:40:01.0/0000:41:00.0", 0, 0, "PHB"},
      {top + "0000:18:00.0/0000:1a:00.0", "pci0000:80/0000:80:01.0/0000:81:00.0", 0, 1, "SYS"},
      {port + "0000:1a:00.0", port + "0000:1a:00.0", 0, 0, "LOC"},
  };
  for (const Row& row : rows) {
    const Sysfs sysfs;
    sysfs.place(row.gpu, row.gpu_node);
    sysfs.place_nic("mlx5_0", row.nic, row.nic_node);
    const std::string gpu = verbs::pci_folder(sysfs.root(), "bus/pci/devices/0000:1a:00.0");
    const std::string nic = verbs::pci_folder(sysfs.root(), "class/infiniband/mlx5_0/device");
    EXPECT_TRUE(gpu.ends_with("0000:1a:00.0")) << gpu;
    EXPECT_STREQ(to_string(verbs::pci_distance(gpu, nic)), row.distance)
        << row.gpu << "  " << row.nic;
    EXPECT_EQ(verbs::pci_distance(gpu, nic), verbs::pci_distance(nic, gpu));
  }
}

// Soft-RoCE has no place on PCI.
TEST(VerbsPci, WhatHasNoPlaceIsFarAway) {
  const Sysfs sysfs;
  sysfs.place("pci0000:16/0000:1a:00.0", 0);
  sysfs.write("class/infiniband/rxe0/node_type", "1: CA\n");
  const std::string gpu = verbs::pci_folder(sysfs.root(), "bus/pci/devices/0000:1a:00.0");
  const std::string nic = verbs::pci_folder(sysfs.root(), "class/infiniband/rxe0/device");
  EXPECT_EQ(nic, "");
  EXPECT_EQ(verbs::pci_distance(gpu, nic), PciDistance::sys);
}

}  // namespace
}  // namespace accl::test
