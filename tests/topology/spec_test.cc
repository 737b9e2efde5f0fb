// spec_test.cc - clusters from YAML: what good specs mean and what bad ones are told.
#include <gtest/gtest.h>

#include <set>

#include "accl/base/error.h"
#include "tests/topology/clusters.h"
#include "topology/fabric/condition.h"

namespace accl::topology::test {
namespace {

std::string complaint(const std::string& text) {
  try {
    static_cast<void>(fabric_from(text));
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
    return error.what();
  }
  return "accepted";
}

void expect_complaint(const std::string& text, const std::string& words) {
  EXPECT_NE(complaint(text).find(words), std::string::npos) << complaint(text);
}

const std::string good =
    "name: small\ntopology: bigraph\nservers: {count: 8, nics: 2, gpus: 2}\n"
    "upper: {switches: 2, nics: 4}\nlower: {switches: 2, nics: 4}\n";

TEST(Spec, EveryPortIsUsedOnce) {
  for (const char* const extra : {"", "attach: spread\n", "cables_per_pair: 3\n"}) {
    const Fabric fabric = fabric_from(good + extra);
    std::set<std::pair<NodeId, std::uint32_t>> ports;
    for (const Cable& cable : fabric.cables) {
      EXPECT_TRUE(ports.insert({cable.a.node, cable.a.port}).second);
      EXPECT_TRUE(ports.insert({cable.b.node, cable.b.port}).second);
    }
    EXPECT_EQ(fabric.cables.size(), 16 + 4 * fabric.cables_per_pair);
  }
}

TEST(Spec, BlockAndSpreadAttachDifferently) {
  const Fabric block = fabric_from(good);
  EXPECT_EQ(block.nics[0].at, block.nics[1].at);
  const Fabric spread = fabric_from(good + "attach: spread\n");
  EXPECT_EQ(spread.at(spread.nics[0].at).side, Side::upper);
  EXPECT_EQ(spread.at(spread.nics[1].at).side, Side::lower);
}

TEST(Spec, RailsGoToLeavesOfTheirOwn) {
  const Fabric fabric = fabric_from(
      "name: rails\ntopology: leaf-spine\nservers: {count: 8, nics: 2}\nattach: rail\n"
      "leaf: {switches: 4, nics: 4}\nspine: {switches: 2}\n");
  for (const Nic& nic : fabric.nics) EXPECT_EQ(fabric.at(nic.at).place % 2, nic.place);
}

TEST(Spec, GraphsFindTheirLayers) {
  const Fabric fabric = fabric_from(
      "name: any\ntopology: graph\n"
      "switches: [{name: a}, {name: b}, {name: c, ports: 8}]\n"
      "servers: [{name: n0, nics: [a, b]}, {name: n1, nics: [c]}]\n"
      "cables: [{a: a, b: b, count: 2}, {a: b, b: c, gbps: 400}]\n");
  EXPECT_EQ(fabric.switches[0].side, Side::upper);
  EXPECT_EQ(fabric.switches[1].side, Side::lower);
  EXPECT_EQ(fabric.switches[2].side, Side::upper);
  EXPECT_EQ(fabric.cables_per_pair, 2u);
  EXPECT_EQ(fabric.cables.back().gbps, 400);
  const Fabric odd = fabric_from(
      "name: odd\ntopology: graph\nswitches: [{name: a}, {name: b}, {name: c}]\n"
      "servers: [{name: n0, nics: [a]}]\n"
      "cables: [{a: a, b: b}, {a: b, b: c}, {a: c, b: a}]\n");
  EXPECT_EQ(odd.switches[0].side, Side::none);
}

TEST(Spec, NumbersThatDoNotFitAreNamed) {
  expect_complaint(good + "planes: 3\n", "test.yaml:6: planes: 3 planes cannot share 2 NICs");
  expect_complaint(good + "switch_ports: 5\n", "upper switches need 6 ports (4 to NICs, 2 to");
  expect_complaint(
      "name: x\ntopology: bigraph\nservers: {count: 9, nics: 2}\n"
      "upper: {switches: 2, nics: 4}\nlower: {switches: 2, nics: 4}\n",
      "9 servers with 2 NICs in a plane need 18 ports; the switches of a plane give "
      "NICs 16");
  expect_complaint(
      "name: x\ntopology: bigraph\nservers: {count: 8}\n"
      "upper: {switches: 0, nics: 4}\nlower: {switches: 2, nics: 4}\n",
      "test.yaml:4: switches: must be a whole number from 1 to 4096");
  expect_complaint("name: x\ntopology: bigraph\nservers: {count: 8}\nlower: {switches: 2}\n",
                   "upper: is missing");
  expect_complaint(
      "name: x\ntopology: bigraph\nservers: {count: 60000, nics: 64}\n"
      "upper: {switches: 4000, nics: 480}\nlower: {switches: 4000, nics: 480}\n",
      "are more than");
  expect_complaint(
      "name: x\ntopology: bigraph\nservers: {count: 8}\n"
      "upper: {switches: 2, nics: [1, 2, 3]}\nlower: {switches: 2, nics: 2}\n",
      "nics: lists 3 numbers where there are 2");
}

TEST(Spec, WordsThatMeanNothingAreNamed) {
  expect_complaint(good + "cable_per_pair: 2\n", "test.yaml:6: 'cable_per_pair' means nothing");
  expect_complaint(good + "gbps: fast\n", "gbps: must be a number");
  expect_complaint("name: x\ntopology: mesh\n", "it must be one of bigraph, leaf-spine, graph");
  expect_complaint("name: x\n", "topology: is missing");
  expect_complaint("- 1\n", "is it a spec?");
  expect_complaint("name: [\n", "test.yaml:");
  expect_complaint(std::string(100000, '['), "nests deeper");
  expect_complaint(
      "name: x\ntopology: bigraph\nservers: {count: 2, name: \"a b{}\"}\n"
      "upper: {switches: 1, nics: 1}\nlower: {switches: 1, nics: 1}\n",
      "name 'a b0'");
  expect_complaint(
      "name: x\ntopology: bigraph\nservers: {count: 2, name: same}\n"
      "upper: {switches: 1, nics: 1}\nlower: {switches: 1, nics: 1}\n",
      "comes twice");
  expect_complaint(
      "name: x\ntopology: bigraph\nservers: {count: 2, name: \"{:s}\"}\n"
      "upper: {switches: 1, nics: 1}\nlower: {switches: 1, nics: 1}\n",
      "stands for the number");
  expect_complaint(
      "name: x\ntopology: graph\nswitches: [{name: a}]\n"
      "servers: [{name: n, nics: [b]}]\n",
      "there is no switch 'b'");
}

TEST(Spec, TruncatedAnywhereItNeverCrashes) {
  const std::string text = good + "cables_per_pair: 2\nlatency: {start_us: 2, hop_us: 0.5}\n";
  for (std::size_t i = 0; i < text.size(); ++i) static_cast<void>(complaint(text.substr(0, i)));
}

TEST(Condition, NamesOfEveryKind) {
  const Fabric fabric = fabric_from(good);
  Condition condition = whole(fabric);
  apply_dead(fabric, "# yesterday\nserver1\n\n server2/mlx5_1 \nupper0--lower1\r\nupper1:5\n", "d",
             condition);
  EXPECT_EQ(condition.nics.size(), 16u - 3);
  EXPECT_EQ(std::ranges::count(condition.dead_cables, true), 5);
  apply_dead(fabric, "lower0", "d", condition);
  EXPECT_EQ(condition.nics.size(), 16u - 3 - 4);
}

TEST(Condition, UnknownNamesGetTheirLine) {
  const Fabric fabric = fabric_from(good);
  Condition condition = whole(fabric);
  try {
    apply_hosts(fabric, "server1\nserver99\n", "hosts.txt", condition);
    FAIL() << "took a server that is not there";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("hosts.txt:2: 'server99'"), std::string::npos);
  }
  EXPECT_THROW(apply_hosts(fabric, "# nobody\n", "hosts.txt", condition), Error);
}

}  // namespace
}  // namespace accl::topology::test
