// The report page: equal inputs give equal bytes, its data says what was counted, and no name can
// leave the place it is written in.
#include "topology/report/report.h"

#include <gtest/gtest.h>

#include "topology/fabric/spec.h"
#include "topology/mapping/launch.h"
#include "topology/report/data.h"

namespace accl::topology {
namespace {

constexpr const char* small = R"(
name: small
topology: bigraph
servers: {count: 8, gpus: 2, nics: 2, name: "server{:02}"}
upper: {switches: 2, nics: 4}
lower: {switches: 2, nics: 4}
cables_per_pair: 2
gbps: 100
)";

struct Case {
  Fabric fabric;
  Condition condition;
  std::vector<Study> list;
  RankMap map;

  ReportInput input() const { return {fabric, condition, list, map}; }
};

Case case_of(const std::string& text) {
  Section spec = Section::parse(text, "spec");
  Case made;
  made.fabric = read_fabric(spec);
  made.condition = whole(made.fabric);
  const Mapping mapping = map_ranks(made.fabric, made.condition, {});
  made.list = studies(made.fabric, made.condition, mapping, {});
  made.map = rank_map_of(made.fabric, mapping);
  return made;
}

std::string data_in(const std::string& page) {
  const std::string open = "id=\"data\">";
  const std::size_t begin = page.find(open) + open.size();
  return page.substr(begin, page.find("</script>", begin) - begin);
}

std::vector<double> unpack(const ReportJson& lists, std::size_t links) {
  std::vector<double> flows(links, 0.0);
  for (const ReportJson& list : lists) {
    std::size_t at = 0;
    for (std::size_t i = 1; i < list.size(); i += 2) {
      at += list[i].get<std::size_t>();
      const std::size_t end = at + list[i + 1].get<std::size_t>();
      while (at < end) flows.at(at++) = list[0].get<double>();
    }
  }
  return flows;
}

TEST(Report, EqualInputsGiveEqualBytes) {
  EXPECT_EQ(print_report(case_of(small).input()), print_report(case_of(small).input()));
}

TEST(Report, FetchesNothing) {
  const std::string page = print_report(case_of(small).input());
  for (const char* word : {"src=", "@import", "url(", "href=\"http", "fetch(", "/*DATA*/"}) {
    EXPECT_EQ(page.find(word), std::string::npos) << word;
  }
}

TEST(Report, LoadsAreThoseOfFlowsByLink) {
  const Case made = case_of(small);
  const ReportJson json = ReportJson::parse(data_in(print_report(made.input())));
  ASSERT_EQ(json["studies"].size(), made.list.size());
  const Fabric rival = rival_of(made.fabric, 16);
  const Condition rival_condition = whole(rival);
  for (std::size_t s = 0; s < made.list.size(); ++s) {
    const Study& study = made.list[s];
    const Fabric& fabric = study.on_rival ? rival : made.fabric;
    const Routes routes(fabric, study.on_rival ? rival_condition : made.condition);
    const ReportJson& shown = json["studies"][s];
    ASSERT_EQ(shown["rounds"].size(), study.traffic.rounds.size());
    for (std::size_t i = 0; i < study.traffic.rounds.size(); ++i) {
      const RoutedRound routed = route_round(fabric, routes, study.seats, study.traffic.rounds[i],
                                             sending_of(study.algorithm));
      const std::size_t number = shown["rounds"][i][1];
      EXPECT_EQ(unpack(shown["loads"][number], fabric.graph.links().size()),
                flows_by_link(fabric, routed));
      EXPECT_EQ(shown["rounds"][i][2].get<double>(), study.rounds[i].between_switches);
    }
  }
}

TEST(Report, SendersAreAsManyAsMessages) {
  const Case made = case_of(small);
  const ReportJson study = report_data(made.input())["studies"][1];
  std::size_t links = 0;
  for (std::size_t i = 0; i < study["loads"].size(); ++i) {
    const std::vector<double> flows = unpack(study["loads"][i], 2 * made.fabric.cables.size());
    for (const ReportJson& row : study["senders"][i]) {
      EXPECT_EQ(flows.at(row[0].get<std::size_t>()), static_cast<double>(row.size() - 1) / 2);
      ++links;
    }
  }
  EXPECT_GT(links, 0u);
}

TEST(Report, LoadsOfPartsOfMessagesKeepAThousandth) {
  EXPECT_EQ(pack_loads({0, 1, 1, 0.25, 0, 1}), ReportJson::parse("[[0.25,3,1],[1,1,2,2,1]]"));
  EXPECT_EQ(pack_loads({1.0 / 3, 0.0001}), ReportJson::parse("[[0.333,0,1]]"));
}

TEST(Report, RoundsBeyondTheLimitAreCounted) {
  Case made = case_of(small);
  Study& study = made.list.front();
  const std::size_t before = study.rounds.size();
  while (study.rounds.size() <= most_report_rounds) {
    study.rounds.push_back(study.rounds[study.rounds.size() - before]);
    study.traffic.rounds.push_back(study.traffic.rounds[study.traffic.rounds.size() - before]);
  }
  const ReportJson json = report_data(made.input());
  EXPECT_EQ(json["studies"][0]["rounds"].size(), most_report_rounds);
  EXPECT_EQ(json["studies"][0]["left_out"], study.rounds.size() - most_report_rounds);
  EXPECT_EQ(json["studies"][1]["left_out"], 0);
}

TEST(Report, NamesOfAnyBytesStayData) {
  Case made = case_of(small);
  const std::string name = "</script><script>alert(1)</script><!-- \"'&\\ \xFF";
  made.fabric.name = name;
  made.fabric.switches[0].name = name;
  made.fabric.servers[0].name = name;
  const std::string page = print_report(made.input());
  EXPECT_EQ(page.find("alert(1)</script>"), std::string::npos);
  EXPECT_EQ(page.find("<!--"), std::string::npos);
  const ReportJson json = ReportJson::parse(data_in(page));
  EXPECT_EQ(json["name"], name.substr(0, name.size() - 1) + "\xEF\xBF\xBD");
}

TEST(Report, CablesCarryWhatTheirPlanSays) {
  const Case made = case_of(small);
  ReportInput input = made.input();
  input.cables.resize(made.fabric.cables.size());
  input.cables[3] = {"F-17", "AOC", "5 m", "A01", "B07"};
  const ReportJson rows = report_data(input)["fabrics"][0]["cables"];
  EXPECT_EQ(rows[3][0], "F-17");
  EXPECT_EQ(rows[3][7], "AOC");
  EXPECT_EQ(rows[3][10], "B07");
  EXPECT_EQ(rows[4][0], "C0004");
}

TEST(Report, FabricsWithoutLayersAndStudiesWithoutFiguresHaveAPage) {
  Case made = case_of(small);
  for (Switch& each : made.fabric.switches) each.side = Side::none;
  Study empty;
  empty.note = "too large to count";
  made.list = {empty};
  const ReportJson json = ReportJson::parse(data_in(print_report(made.input())));
  EXPECT_EQ(json["studies"][0]["note"], "too large to count");
  EXPECT_EQ(json["free"], false);
}

}  // namespace
}  // namespace accl::topology
