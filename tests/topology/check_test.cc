#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <random>

#include "accl/base/error.h"
#include "accl/base/text_file.h"
#include "tests/topology/built.h"
#include "topology/cabling/exports.h"
#include "topology/check/compare.h"
#include "topology/check/readers.h"

namespace accl::topology {
namespace {

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

struct Case {
  Built built;
  Ports ports;
  Observation seen;  // At first all as planned.

  explicit Case(std::string_view spec)
      : built(build(spec)),
        ports(built.fabric, built.plan.rules.ports),
        seen(parse_cables(cut_sheet_csv(built.fabric, built.plan), "cables.csv")) {}

  Comparison result() const { return compare(built.fabric, ports, seen); }
  ObservedLink& link(std::size_t cable) { return seen.links[cable]; }

  // The one finding that there must be.
  Finding only() const {
    const Comparison found = result();
    EXPECT_EQ(found.findings.size(), 1u);
    for (const Finding& finding : found.findings) {
      if (found.findings.size() != 1) ADD_FAILURE() << finding.what;
    }
    return found.findings.empty() ? Finding{} : found.findings.front();
  }
};

class Specs : public testing::TestWithParam<std::string_view> {};
INSTANTIATE_TEST_SUITE_P(All, Specs, testing::Values(tiny, doubled, leaf_spine, ring));

TEST_P(Specs, WhatIsExportedMatches) {
  Case one(GetParam());
  EXPECT_TRUE(one.result().matches());
  EXPECT_EQ(one.result().right, one.built.fabric.cables.size());
  one.seen = parse_cables(netbox_cables_csv(one.built.fabric, one.built.plan), "netbox.csv");
  EXPECT_TRUE(one.result().matches());
  one.seen = parse_ibnetdiscover(ibnetdiscover_text(one.built.fabric, one.built.plan), "ib");
  EXPECT_TRUE(one.result().matches());
  EXPECT_EQ(one.result().right, one.built.fabric.cables.size());
}

// Whatever one thing is changed in a list that is right, it is no longer right.
TEST_P(Specs, AnyOneChangeIsNoticed) {
  std::mt19937 random(7);
  const Case right(GetParam());
  for (int i = 0; i < 2000; ++i) {
    Case one = right;
    std::vector<ObservedLink>& links = one.seen.links;
    const std::size_t at = random() % links.size();
    ObservedLink& link = links[at];
    ObservedLink& other = links[random() % links.size()];
    switch (random() % 7) {
      case 0:
        links.erase(links.begin() + static_cast<std::ptrdiff_t>(at));
        break;
      case 1:
        links.push_back({.a = link.a, .b = {"stranger", "1"}, .gbps = 0, .speed = "", .place = ""});
        break;
      case 2:
        link.b.port = "swp1000";
        break;
      case 3:
        link.gbps = link.gbps / 2;
        break;
      case 4:
        link.a.device = "stranger";
        break;
      case 5:
        if (&other == &link) continue;
        std::swap(link.b, other.b);
        break;
      default:
        if (&other == &link) continue;
        std::swap(link.a, other.b);
        break;
    }
    EXPECT_FALSE(compare(right.built.fabric, right.ports, one.seen).matches()) << i;
  }
}

TEST(Compare, NamesAMissingCable) {
  Case one(tiny);
  one.seen.links.erase(one.seen.links.begin() + 3);
  const Finding found = one.only();
  EXPECT_EQ(found.mistake, Mistake::missing);
  EXPECT_EQ(found.what, "C0003 (server01:mlx5_1 to lower0:swp2) is not seen");
}

TEST(Compare, NamesAnExtraCable) {
  Case one(tiny);
  one.seen.links.push_back(
      {.a = {"upper0", "swp7"}, .b = {"lower1", "swp8"}, .gbps = 0, .speed = "", .place = "f:9"});
  const Finding found = one.only();
  EXPECT_EQ(found.mistake, Mistake::extra);
  EXPECT_EQ(found.what, "a cable from upper0:swp7 to lower1:swp8 is not planned");
  EXPECT_EQ(found.place, "f:9");
}

TEST(Compare, NamesSwappedPlugs) {
  Case one(tiny);
  std::swap(one.link(8).b, one.link(10).b);  // upper0 - lower0 and upper1 - lower0.
  Finding found = one.only();
  EXPECT_EQ(found.mistake, Mistake::swapped);
  EXPECT_EQ(found.cables, (std::vector<CableId>{CableId{8}, CableId{10}}));
  EXPECT_EQ(found.fix, "swap the plugs of C0008 and C0010 at lower0 (ports swp3 and swp4)");

  Case crossed(tiny);  // e - g and f - h of e - f and g - h.
  std::swap(crossed.link(8).b, crossed.link(11).a);
  found = crossed.only();
  EXPECT_EQ(found.mistake, Mistake::swapped);
  EXPECT_EQ(found.fix, "swap the plug at lower0:swp3 with the one at upper1:swp4");
}

TEST(Compare, NamesTheLayerOfSwappedNics) {
  Case one(tiny);
  std::swap(one.link(0).b, one.link(1).b);  // Both NICs of server00.
  const Finding found = one.only();
  EXPECT_EQ(found.mistake, Mistake::swapped);
  EXPECT_EQ(found.fix, "swap the plugs of C0000 and C0001 at server00 (ports mlx5_0 and mlx5_1)");
  EXPECT_NE(found.what.find("breaks the parity rule"), std::string::npos) << found.what;
}

TEST(Compare, NamesAWrongPortOfTheRightSwitch) {
  Case one(tiny);
  one.link(2).b.port = "swp8";
  const Finding found = one.only();
  EXPECT_EQ(found.mistake, Mistake::wrong_port);
  EXPECT_EQ(found.what, "C0002 from server01:mlx5_0 goes to upper0:swp8 and not to upper0:swp2");
  EXPECT_EQ(found.fix, "move the plug of C0002 from upper0:swp8 to upper0:swp2");
}

TEST(Compare, NamesAWrongSwitchAndAWrongLayer) {
  Case one(tiny);
  one.link(2).b = {"upper1", "swp8"};
  EXPECT_EQ(one.only().mistake, Mistake::wrong_switch);
  one.link(2).b = {"lower1", "swp8"};
  const Finding found = one.only();
  EXPECT_EQ(found.mistake, Mistake::wrong_layer);
  EXPECT_NE(found.what.find("server01:mlx5_0 is at the lower layer and belongs to the upper"),
            std::string::npos)
      << found.what;
  one.link(2).b = {"switch-of-others", "swp8"};
  EXPECT_EQ(one.only().mistake, Mistake::wrong_switch);
  EXPECT_NE(one.only().what.find("switch-of-others:swp8"), std::string::npos);
}

TEST(Compare, NamesAWrongSpeed) {
  Case one(tiny);
  one.seen = parse_ibnetdiscover(
      replaced(ibnetdiscover_text(one.built.fabric, one.built.plan), "lid 0 4xEDR", "lid 0 1xEDR"),
      "ib");
  const Finding found = one.only();
  EXPECT_EQ(found.mistake, Mistake::wrong_speed);
  EXPECT_EQ(found.what,
            "C0000 (server00:mlx5_0 to upper0:swp1) runs at 25 Gb/s (1xEDR) and not at 100");
}

TEST(Compare, ARotationOfThreeIsThreeMoves) {
  Case one(doubled);
  std::swap(one.link(0).b, one.link(2).b);
  std::swap(one.link(2).b, one.link(4).b);
  EXPECT_EQ(one.result().findings.size(), 3u);
}

TEST(Compare, OtherNetworksAreIgnored) {
  Case one(tiny);
  one.seen.links.push_back(
      {.a = {"server00", "eno1"}, .b = {"office", "Gi1/0/7"}, .gbps = 1, .speed = "", .place = ""});
  EXPECT_TRUE(one.result().matches());
  EXPECT_EQ(one.result().ignored, 1u);
}

TEST(Compare, APortAtTwoPlacesIsAContradiction) {
  Case one(tiny);
  one.seen.links.push_back(
      {.a = {"server00", "mlx5_0"}, .b = {"upper1", "swp8"}, .gbps = 0, .speed = "", .place = ""});
  const auto findings = one.result().findings;
  EXPECT_TRUE(std::ranges::any_of(
      findings, [](const Finding& each) { return each.mistake == Mistake::contradiction; }));
}

TEST(Compare, ALoopIsNoContradiction) {
  Case one(tiny);
  one.link(8).b = one.link(8).a;
  EXPECT_EQ(one.only().mistake, Mistake::wrong_switch);
}

TEST(Compare, SaysWhoWasNotHeard) {
  Case one(tiny);
  one.seen.links.clear();
  one.seen.reporters = {"server00"};
  const auto findings = one.result().findings;
  ASSERT_EQ(findings.size(), 12u);
  EXPECT_EQ(findings[0].what.find("was heard"), std::string::npos);
  EXPECT_NE(findings[8].what.find("neither upper0 nor lower0 was heard"), std::string::npos);
}

TEST(Ports, AreFoundByTheNamesPeopleUse) {
  const Case one(doubled);
  for (const char* name : {"Ethernet1/3", "3", "Port 3", "swp3", "1/3"}) {
    const auto end = one.ports.find({"upper1.example.org", name});
    ASSERT_TRUE(end) << name;
    EXPECT_EQ(end->port, 3u);
  }
  for (const char* name : {"ens2np0", "mlx5_1", "mlx5_1/1", "mlx5_1/P1", "HCA-2"}) {
    EXPECT_TRUE(one.ports.find({"server3", name})) << name;
  }
  for (const char* name : {"", "0", "17", "1/2/3", "swp", "swp1s0", "99999999999", "eth0",
                           "Management1", "Ethernet2/3"}) {
    EXPECT_FALSE(one.ports.find({"upper1", name})) << name;
  }
  for (const char* name : {"", "eno1", "mlx5_2", "HCA-3", "HCA-0", "mlx5_1/2"}) {
    EXPECT_FALSE(one.ports.find({"server3", name})) << name;
  }
}

constexpr std::string_view lldp_json = R"({"server00": {"lldp": {"interface": [
  {"mlx5_0": {"via": "LLDP", "rid": "1", "age": "0 day, 00:01:02",
     "chassis": {"upper0": {"id": {"type": "mac", "value": "02:00:00:00:00:01"}, "descr": "x"}},
     "port": {"id": {"type": "ifname", "value": "swp1"}, "descr": "to server00", "ttl": "120",
              "auto-negotiation": {"supported": false, "current": "100GBaseCR4 - x"}}}},
  {"mlx5_1": {"via": "LLDP",
     "chassis": {"lower0": {"id": {"type": "mac", "value": "02:00:00:00:00:02"}}},
     "port": {"id": {"type": "mac", "value": "02:00:00:00:00:03"}, "descr": "swp1"}}},
  {"eno1": {"chassis": {"id": {"type": "mac", "value": "02:00:00:00:00:04"}},
            "port": {"id": {"type": "mac", "value": "02:00:00:00:00:05"}}}}]}},
 "upper0": {"lldp": {"interface": {"swp1": {"via": "LLDP",
     "chassis": {"server00": {"id": {"type": "mac", "value": "02:00:00:00:00:06"}}},
     "port": {"id": {"type": "ifname", "value": "mlx5_0"}}}}}}})";

constexpr std::string_view lldp_json0 = R"([{"host": "upper0", "lldp": [{"interface": [
  {"name": "swp1", "via": "LLDP", "chassis": [{"id": [{"type": "mac", "value": "02:00"}],
     "name": [{"value": "server00"}]}],
   "port": [{"id": [{"type": "ifname", "value": "mlx5_0"}], "descr": [{"value": "x"}],
             "auto-negotiation": [{"enabled": true, "current": [{"value": "10GigBaseLR - x"}]}]}]}
  ]}]}])";

TEST(Lldp, ReadsJson) {
  const Observation seen = parse_lldp(lldp_json, "f.json", "f");
  ASSERT_EQ(seen.links.size(), 2u);  // The first is seen from both ends.
  EXPECT_EQ(seen.links[0].b, (NamedEnd{"upper0", "swp1"}));
  EXPECT_EQ(seen.links[0].gbps, 100);
  EXPECT_EQ(seen.links[0].place, "f.json: server00 mlx5_0");
  EXPECT_EQ(seen.links[1].b, (NamedEnd{"lower0", "swp1"}));
  EXPECT_EQ(seen.reporters, (std::set<std::string>{"server00", "upper0"}));
}

TEST(Lldp, ReadsJson0) {
  const Observation seen = parse_lldp(lldp_json0, "f.json", "f");
  ASSERT_EQ(seen.links.size(), 1u);
  EXPECT_EQ(seen.links[0].a, (NamedEnd{"upper0", "swp1"}));
  EXPECT_EQ(seen.links[0].b, (NamedEnd{"server00", "mlx5_0"}));
  EXPECT_EQ(seen.links[0].gbps, 10);
}

TEST(Lldp, ReadsABareOutputAsThatOfTheFile) {
  const Observation seen = parse_lldp(R"({"lldp": {"interface": {"swp1": {"chassis": {"s": {}},
                 "port": {"id": {"type": "ifname", "value": "e0"}}}}}})",
                                      "f.json", "upper0");
  ASSERT_EQ(seen.links.size(), 1u);
  EXPECT_EQ(seen.links[0].a, (NamedEnd{"upper0", "swp1"}));
  EXPECT_TRUE(parse_lldp(R"({"lldp": {}})", "f.json", "upper0").links.empty());
}

TEST(Readers, RefuseWhatIsNotTheirs) {
  EXPECT_THROW(parse_lldp("", "f", "h"), Error);
  EXPECT_THROW(parse_lldp("[1]", "f", "h"), Error);
  EXPECT_THROW(parse_lldp("{\"a\": 1e999}", "f", "h"), Error);
  EXPECT_THROW(parse_lldp(std::string(1000, '['), "f", "h"), Error);
  EXPECT_THROW(parse_cables("", "f"), Error);
  EXPECT_THROW(parse_cables("a,b\n", "f"), Error);
  EXPECT_THROW(parse_cables("a_device,a_port,b_device,b_port\nx,1,,2\n", "f"), Error);
  EXPECT_THROW(parse_cables("a_device,a_port,b_device,b_port,gbps\nx,1,y,2,fast\n", "f"), Error);
  EXPECT_THROW(parse_ibnetdiscover("", "f"), Error);
  EXPECT_THROW(parse_ibnetdiscover("hello\n", "f"), Error);
  EXPECT_THROW(parse_ibnetdiscover("[1] \"x\"[2]\n", "f"), Error);
  EXPECT_THROW(parse_ibnetdiscover("Switch 8 \"a\"\nSwitch 8 \"a\"\n", "f"), Error);
}

// A file that stops in the middle is refused or read as far as it goes; nothing else happens.
TEST(Readers, SurviveTruncation) {
  const Case one(tiny);
  const std::string ib = ibnetdiscover_text(one.built.fabric, one.built.plan);
  const std::string csv = cut_sheet_csv(one.built.fabric, one.built.plan);
  const auto survives = [](std::string_view text, const auto& parse) {
    for (std::size_t size = 0; size < text.size(); ++size) {
      try {
        parse(text.substr(0, size));
      } catch (const Error&) {
      }
    }
  };
  survives(lldp_json, [](std::string_view text) { parse_lldp(text, "f", "h"); });
  survives(lldp_json0, [](std::string_view text) { parse_lldp(text, "f", "h"); });
  survives(csv, [](std::string_view text) { parse_cables(text, "f"); });
  survives(ib, [](std::string_view text) { parse_ibnetdiscover(text, "f"); });
}

TEST(Ibnetdiscover, KnowsHowDevicesDescribeThemselves) {
  const Observation seen = parse_ibnetdiscover(
      "Switch\t36 \"S-1\"\t# \"MF0;upper3:MQM8700/U1\" enhanced port 0 lid 9 lmc 0\n"
      "[17]\t\"H-2\"[1](2) \t# \"server03 HCA-2\" lid 5 4xHDR\n"
      "Ca\t1 \"H-2\"\t\t# \"server03 HCA-2\"\n"
      "[1](3) \t\"S-1\"[17]\t\t# lid 5 lmc 0 \"MF0;upper3:MQM8700/U1\" lid 9 4xHDR\n",
      "f");
  ASSERT_EQ(seen.links.size(), 1u);
  EXPECT_EQ(seen.links[0].a, (NamedEnd{"upper3", "17"}));
  EXPECT_EQ(seen.links[0].b, (NamedEnd{"server03", "HCA-2"}));
  EXPECT_EQ(seen.links[0].gbps, 200);
}

TEST(Ibnetdiscover, ReadsARealFabric) {
  const char* given = std::getenv("ACCL_INPUTS");
  const char* source = std::getenv("ACCL_SOURCE");
  const std::string inputs = given != nullptr    ? given
                             : source != nullptr ? std::string(source) + "/../shared/inputs"
                                                 : "../shared/inputs";
  const std::string path = inputs + "/ib/X5.topofile";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not there";
  const std::string text = read_text(path);
  const IbCounts counts = count_ibnetdiscover(text, path);
  EXPECT_EQ(counts.switches, 11u);
  EXPECT_EQ(counts.adapters, 89u);
  EXPECT_EQ(counts.link_ends, 318u);
  const Observation seen = parse_ibnetdiscover(text, path);
  EXPECT_EQ(seen.links.size(), 159u);  // All ends are reciprocal.
  const auto slow = std::ranges::count(seen.links, "4xDDR", &ObservedLink::speed);
  const auto fast = std::ranges::count(seen.links, "4xQDR", &ObservedLink::speed);
  EXPECT_EQ(slow + fast, 159);
  EXPECT_GT(slow, 0);
}

}  // namespace
}  // namespace accl::topology
