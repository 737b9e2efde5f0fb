#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "accl/base/error.h"
#include "tests/topology/built.h"
#include "topology/cabling/advice.h"
#include "topology/cabling/bill.h"
#include "topology/cabling/csv.h"
#include "topology/cabling/exports.h"

namespace accl::topology {
namespace {

std::string text_of(const std::vector<ExportFile>& files, const std::string& name) {
  const auto found = std::ranges::find(files, name, &ExportFile::name);
  EXPECT_NE(found, files.end()) << name;
  return found == files.end() ? "" : found->text;
}

std::size_t count_of(std::string_view text, std::string_view part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos; ++count) {
    at = text.find(part, at + part.size());
  }
  return count;
}

std::string complaint_of(const std::string& text) {
  try {
    build(text);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

std::string complaint_about(const std::string& cabling) {
  return complaint_of(std::string(tiny) + "cabling:\n" + cabling);
}

class Specs : public testing::TestWithParam<std::string_view> {};
INSTANTIATE_TEST_SUITE_P(All, Specs, testing::Values(tiny, doubled, leaf_spine, ring));

TEST_P(Specs, EveryCableIsInEveryExportOnce) {
  const Built built = build(GetParam());
  const std::size_t cables = built.fabric.cables.size();
  const auto files = all_exports(built.fabric, built.plan);
  EXPECT_EQ(parse_csv(text_of(files, "cables.csv"), "cables.csv").size(), cables + 1);
  EXPECT_EQ(parse_csv(text_of(files, "netbox-4-cables.csv"), "netbox").size(), cables + 1);
  EXPECT_EQ(parse_csv(text_of(files, "netbox-3-interfaces.csv"), "netbox").size(), 2 * cables + 1);
  EXPECT_EQ(count_of(text_of(files, "topology.dot"), " -- "), cables);
  EXPECT_EQ(count_of(text_of(files, "lab.clab.yml"), "- endpoints: "), cables);
  EXPECT_EQ(count_of(text_of(files, "fabric.ibnet"), "\n["), 2 * cables);
  const std::string slurm = text_of(files, "topology.conf");
  EXPECT_EQ(count_of(slurm, "Switches="), 1u) << slurm;
}

TEST_P(Specs, NoPortIsUsedTwice) {
  const Built built = build(GetParam());
  const auto rows = parse_csv(cut_sheet_csv(built.fabric, built.plan), "cables.csv");
  std::set<std::pair<std::string, std::string>> ports;
  for (std::size_t i = 1; i < rows.size(); ++i) {
    EXPECT_TRUE(ports.emplace(rows[i].fields[9], rows[i].fields[10]).second) << i;
    EXPECT_TRUE(ports.emplace(rows[i].fields[15], rows[i].fields[16]).second) << i;
  }
}

TEST_P(Specs, NoUnitOfARackIsTakenTwice) {
  const Built built = build(GetParam());
  std::set<std::pair<std::uint32_t, std::uint32_t>> taken;
  auto places = built.plan.switches;
  places.insert(places.end(), built.plan.servers.begin(), built.plan.servers.end());
  for (const Place& place : places) {
    ASSERT_LT(place.rack, built.plan.racks.size());
    for (std::uint32_t u = place.u; u < place.u + place.units; ++u) {
      EXPECT_GE(u, 1u);
      EXPECT_LE(u, built.plan.rules.rack_units);
      EXPECT_TRUE(taken.emplace(place.rack, u).second) << place.rack << " " << u;
    }
  }
}

TEST_P(Specs, TheBillSumsUp) {
  const Built built = build(GetParam());
  std::map<std::string, std::uint64_t> sums;
  std::uint64_t transceivers = 0;
  for (const BillLine& line : bill_of(built.fabric, built.plan)) sums[line.item] += line.count;
  for (const PlannedCable& cable : built.plan.cables) {
    transceivers += built.plan.rules.types[cable.type].transceivers;
  }
  EXPECT_EQ(sums["switch"], built.fabric.switches.size());
  EXPECT_EQ(sums["cable"], built.fabric.cables.size());
  EXPECT_EQ(sums["transceiver"], transceivers);
  const Counts counts = counts_of(built.fabric);
  EXPECT_EQ(counts.nic_cables, built.fabric.nics.size());
  EXPECT_EQ(counts.nic_cables + counts.switch_cables, built.fabric.cables.size());
}

TEST_P(Specs, TheCutSheetReadsBackAsThePlan) {
  const Built built = build(GetParam());
  const Ports ports(built.fabric, built.plan.rules.ports);
  const auto rows = parse_csv(cut_sheet_csv(built.fabric, built.plan), "cables.csv");
  for (std::size_t i = 1; i < rows.size(); ++i) {
    const auto& fields = rows[i].fields;
    const Cable& cable = built.fabric.cables[i - 1];
    EXPECT_EQ(fields[0], label_of(CableId{static_cast<std::uint32_t>(i - 1)}));
    EXPECT_EQ(std::stod(fields[3]), built.plan.cables[i - 1].length_m);
    EXPECT_EQ(std::stod(fields[5]), cable.gbps);
    const auto a = ports.find({fields[9], fields[10]});
    const auto b = ports.find({fields[15], fields[16]});
    ASSERT_TRUE(a && b) << rows[i].line;
    EXPECT_EQ(a->node, cable.a.node);
    EXPECT_EQ(b->node, cable.b.node);
    EXPECT_EQ(b->port, cable.b.port);
    EXPECT_LE(fields[11].size(), 2u * 28 + 3);
  }
}

TEST_P(Specs, ExportsAreTheSameOnEveryRun) {
  const Built one = build(GetParam());
  const Built two = build(GetParam());
  const auto first = all_exports(one.fabric, one.plan);
  const auto second = all_exports(two.fabric, two.plan);
  ASSERT_EQ(first.size(), second.size());
  for (std::size_t i = 0; i < first.size(); ++i) EXPECT_EQ(first[i].text, second[i].text);
}

TEST(Cabling, OfATinyBigraph) {
  const Built built = build(tiny);
  const auto files = all_exports(built.fabric, built.plan);
  EXPECT_TRUE(
      text_of(files, "cables.csv")
          .starts_with("cable,status,medium,length_m,color,gbps,a_row,a_rack,a_u,a_device,a_port,"
                       "a_label,b_row,b_rack,b_u,b_device,b_port,b_label\n"
                       "C0000,planned,DAC,2.5,blue,100,1,rack00,1,server00,mlx5_0,"
                       "C0000 server00:mlx5_0 | to upper0:swp1,"
                       "1,rack00,42,upper0,swp1,C0000 upper0:swp1 | to server00:mlx5_0\n"
                       "C0001,planned,DAC,2.5,green,100,1,rack00,1,server00,mlx5_1,"));
  EXPECT_EQ(text_of(files, "topology.conf"),
            "# tiny: a leaf a switch, and a root that is none. Slurm wants every node at one leaf: "
            "here\n# that of its first NIC. The fabric is no tree, so no distance above a leaf "
            "means anything.\n"
            "SwitchName=upper0 Nodes=server[00-01]\n"
            "SwitchName=upper1 Nodes=server[02-03]\n"
            "# lower0: no server's first NIC\n"
            "# lower1: no server's first NIC\n"
            "SwitchName=tiny-root Switches=upper[0-1]\n");
  EXPECT_TRUE(text_of(files, "topology.dot")
                  .starts_with("graph \"tiny\" {\n    \"server00\":\"mlx5_0\" -- "
                               "\"upper0\":\"swp1\"\n"));
  EXPECT_NE(text_of(files, "fabric.ibnet")
                .find("caguid=0x200acc180000002\nCa\t1 \"H-0200acc180000002\"\t\t# \"server00 "
                      "mlx5_1\"\n[1](200acc180000003) \t\"S-0200acc100000002\"[1]\t\t# \"lower0\" "
                      "lid 0 4xEDR\n"),
            std::string::npos);
  EXPECT_NE(
      text_of(files, "lab.clab.yml").find("    - endpoints: [\"upper0:swp3\", \"lower0:swp3\"]\n"),
      std::string::npos);
  EXPECT_NE(text_of(files, "netbox-4-cables.csv")
                .find("upper0,dcim.interface,swp3,lower0,dcim.interface,swp3,dac-passive,planned,"
                      "C0008,ff9800,"),
            std::string::npos);
}

TEST(Cabling, NetboxHasItsColumns) {
  const Built built = build(tiny);
  EXPECT_TRUE(netbox_cables_csv(built.fabric, built.plan)
                  .starts_with("side_a_device,side_a_type,side_a_name,side_b_device,side_b_type,"
                               "side_b_name,type,status,label,color,length,length_unit\n"));
  EXPECT_TRUE(netbox_devices_csv(built.fabric, built.plan)
                  .starts_with("name,role,manufacturer,device_type,status,site,rack,position,face\n"
                               "upper0,switch,generic,switch,planned,site,rack00,42,front\n"));
  EXPECT_TRUE(
      netbox_interfaces_csv(built.fabric, built.plan)
          .starts_with("device,name,type,enabled\nserver00,mlx5_0,100gbase-x-qsfp28,true\n"));
}

TEST(Cabling, LengthsFollowTheRules) {
  const Built built = build(std::string(tiny) + R"(cabling:
  racks: [r1, r2, r3]
  racks_per_row: 2
  places:
    - {device: upper0, rack: r1, u: 42}
    - {device: lower0, rack: r1, u: 40}
    - {device: upper1, rack: r2, u: 42}
    - {device: lower1, rack: r3, u: 42}
  lengths: {unit_m: 0.05, inside_rack_m: 0.2, to_tray_m: 1, between_racks_m: 0.8,
            between_rows_m: 4, slack_m: 0.5, allowed_m: [100, 0.8, 3.3, 7]}
)");
  const auto length_m = [&](std::uint32_t cable) { return built.plan.cables[cable].length_m; };
  EXPECT_EQ(length_m(8), 0.8);  // upper0 - lower0: 2 units, 0.1 + 0.2 + 0.5.
  EXPECT_EQ(length_m(9), 7);    // upper0 - lower1: another row, 2 + 4 + 0.5.
  EXPECT_EQ(length_m(10), 7);   // upper1 - lower0: 0.1 + 2 + 0.8 + 0.5 = 3.4.
  EXPECT_EQ(built.plan.type_of(CableId{8}).name, "DAC");
  EXPECT_EQ(built.plan.type_of(CableId{9}).name, "AOC");
}

TEST(Cabling, PricesAndTransceiversAreOnTheBill) {
  const Built built = build(doubled);
  const std::string bill = bill_csv(built.fabric, built.plan);
  EXPECT_NE(bill.find("planned,switch,switch,,8,20000.00,160000.00\n"), std::string::npos) << bill;
  EXPECT_NE(bill.find("planned,transceiver,SMF,,"), std::string::npos) << bill;
  EXPECT_NE(bill.find("fat tree of 2 levels,switch,switch,,11,20000.00,220000.00\n"),
            std::string::npos)
      << bill;
}

TEST(Cabling, FatTreesOfKnownSize) {
  const auto is = [](std::uint64_t nics, std::uint64_t radix, Counts want) {
    const auto counts = fat_tree_counts(nics, radix);
    ASSERT_TRUE(counts) << nics;
    EXPECT_EQ(counts->levels, want.levels) << nics;
    EXPECT_EQ(counts->switches, want.switches) << nics;
    EXPECT_EQ(counts->switch_cables, want.switch_cables) << nics;
  };
  is(32, 32, {.levels = 1, .switches = 1, .nic_cables = 32});
  is(512, 32, {.levels = 2, .switches = 48, .nic_cables = 512, .switch_cables = 512});
  // The k-ary fat tree: k^3/4 NICs, 5k^2/4 switches.
  is(128, 8, {.levels = 3, .switches = 80, .nic_cables = 128, .switch_cables = 256});
  EXPECT_FALSE(fat_tree_counts(129, 8));
  EXPECT_FALSE(fat_tree_counts(2, 1));
}

TEST(Cabling, HostListsAreShort) {
  EXPECT_EQ(host_list({"n2", "n1", "n10", "n3", "n9", "login", "n1"}), "login,n[1-3,9],n10");
  EXPECT_EQ(host_list({"a08", "a09", "a10", "a7"}), "a7,a[08-10]");
  EXPECT_EQ(host_list({"x1234567890123"}), "x1234567890123");
  EXPECT_EQ(host_list({}), "");
}

TEST(Cabling, CsvQuotesWhatItMust) {
  EXPECT_EQ(csv_line({"a", "", "b,c", "say \"x\"", "=1+1", "-2", " s"}),
            "a,,\"b,c\",\"say \"\"x\"\"\",'=1+1,'-2,\" s\"\n");
  const auto rows = parse_csv(
      "\xEF\xBB\xBF"
      "a;b;c\r\n\"x\r\ny\";'=1;\"q\"\"q\"\r\n\r\nz\n",
      "f");
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[1].fields, (std::vector<std::string>{"x\r\ny", "=1", "q\"q"}));
  EXPECT_EQ(rows[1].line, 2);
  EXPECT_EQ(rows[2].line, 5);
  EXPECT_THROW(parse_csv("a,b\n\"x", "f"), Error);
  EXPECT_THROW(parse_csv("a,b\n1,2,3\n", "f"), Error);
}

TEST(Cabling, WrongRulesAreNamed) {
  const auto says = [](const std::string& cabling, const std::string& words) {
    const std::string text = complaint_about(cabling);
    EXPECT_NE(text.find(words), std::string::npos) << cabling << text;
    EXPECT_TRUE(text.starts_with("spec.yaml:")) << text;
  };
  says("  rack: [a]\n", "'rack' means nothing here");
  says("  lengths: {slack: 1}\n", "'slack' means nothing here");
  says("  racks: [a]\n  rack_units: 4\n", "give more racks");
  says("  racks: [a, a]\n", "comes twice");
  says("  racks: [a]\n  places: [{device: upper9, rack: a, u: 1}]\n", "no device 'upper9'");
  says("  racks: [a]\n  places: [{device: upper0, rack: b, u: 1}]\n", "not among `racks`");
  says("  racks: [a]\n  places: [{device: server00, rack: a, u: 40}]\n", "does not fit");
  says("  lengths: {allowed_m: [1]}\n", "add a longer one");
  says("  types: [{name: DAC, up_to_m: 0.5}]\n", "none reaches");
  says("  types: [{name: A, up_to_m: 5}, {name: B, up_to_m: 5}]\n", "must be more than");
  says("  switch_port: swp\n", "must hold {} once");
  says("  nic_ports: [eth0]\n", "server00 has 2 NICs");
  says("  switch_model: '=cmd|x'\n", "must be 1 to 64 letters");
  says("  colors: {upper: mauve}\n", "must be one of blue");
}

TEST(Advice, DependsOnTheShape) {
  const auto advice = [](std::string_view spec) { return text_of(advice_for(build(spec).fabric)); };
  EXPECT_NE(advice(tiny).find("deadlock: "), std::string::npos);
  EXPECT_NE(advice(tiny).find("-R dfsssp"), std::string::npos);
  EXPECT_EQ(advice(leaf_spine).find("deadlock: "), std::string::npos);
  EXPECT_NE(advice(leaf_spine).find("planes: no cable joins the 2 planes"), std::string::npos);
  EXPECT_NE(advice(ring).find("single rail: 1 of 2 servers"), std::string::npos);
  for (const std::string_view spec : {tiny, leaf_spine, ring}) {
    const std::string text = advice(spec);
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = text.find('\n', at);
      EXPECT_LE(end - at, 100u);
      at = end + 1;
    }
  }
}

}  // namespace
}  // namespace accl::topology
