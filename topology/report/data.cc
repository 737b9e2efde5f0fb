#include "topology/report/data.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

namespace accl::topology {
namespace {

using Json = ReportJson;

// What the traffic of a study runs over, and whether the page names the senders.
struct Network {
  const Fabric& fabric;
  const Condition& condition;
  bool has_senders = true;
};

// Ends of cables as one number: switches first, then NICs.
class Ends {
 public:
  explicit Ends(const Fabric& fabric) {
    std::uint32_t number = 0;
    for (const Switch& each : fabric.switches) numbers_[each.node] = number++;
    for (const Nic& each : fabric.nics) numbers_[each.node] = number++;
  }
  std::uint32_t number(NodeId node) const { return numbers_.at(node); }

 private:
  std::map<NodeId, std::uint32_t> numbers_;
};

std::string_view name_of(FabricKind kind) {
  if (kind == FabricKind::bigraph) return "bigraph";
  return kind == FabricKind::leaf_spine ? "leaf-spine" : "graph";
}

// [label, end a, port, end b, port, gbps, lane, medium, length, rack a, rack b], the last four only
// where there is a plan for the cables.
Json cables_of(const Fabric& fabric, const std::vector<ReportCable>& plan) {
  const Ends ends(fabric);
  Json rows = Json::array();
  for (std::uint32_t i = 0; i < fabric.cables.size(); ++i) {
    const Cable& cable = fabric.cables[i];
    const bool is_labelled = i < plan.size() && !plan[i].label.empty();
    Json row = Json::array();
    row.push_back(is_labelled ? plan[i].label : label_of(CableId{i}));
    row.insert(row.end(), {ends.number(cable.a.node), cable.a.port, ends.number(cable.b.node),
                           cable.b.port, cable.gbps, cable.lane});
    if (i < plan.size()) {
      row.insert(row.end(), {plan[i].medium, plan[i].length, plan[i].rack_a, plan[i].rack_b});
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

Json numbers_where(const std::vector<bool>& flags) {
  Json numbers = Json::array();
  for (std::size_t i = 0; i < flags.size(); ++i) {
    if (flags[i]) numbers.push_back(i);
  }
  return numbers;
}

// switches: [name, side, plane, ports]; servers: [name, gpus]; nics: [server, name, switch, port,
// cable].
Json fabric_json(const Fabric& fabric, const Condition& condition,
                 const std::vector<ReportCable>& plan) {
  Json json{{"name", fabric.name}, {"kind", name_of(fabric.kind)}, {"planes", fabric.planes}};
  json["per_pair"] = fabric.cables_per_pair;
  Json switches = Json::array();
  for (const Switch& each : fabric.switches) {
    switches.push_back({each.name, name_of(each.side), each.plane, each.ports});
  }
  Json servers = Json::array();
  for (const Server& each : fabric.servers) servers.push_back({each.name, each.gpus});
  Json nics = Json::array();
  for (const Nic& each : fabric.nics) {
    nics.push_back({index(each.server), each.name, index(each.at), each.port, index(each.cable)});
  }
  json["switches"] = std::move(switches);
  json["servers"] = std::move(servers);
  json["nics"] = std::move(nics);
  json["cables"] = cables_of(fabric, plan);
  json["dead"] = numbers_where(condition.dead_cables);
  json["occupied"] = numbers_where(condition.occupied);
  return json;
}

// Loads of rounds, each distinct one once: the two halves of an allreduce are often the same.
class LoadTable {
 public:
  std::size_t add(Json loads, Json senders) {
    const auto [found, is_new] = numbers_.try_emplace(loads.dump() + senders.dump(), loads_.size());
    if (is_new) {
      loads_.push_back(std::move(loads));
      senders_.push_back(std::move(senders));
    }
    return found->second;
  }
  const Json& loads() const { return loads_; }
  const Json& senders() const { return senders_; }

 private:
  std::map<std::string, std::size_t> numbers_;
  Json loads_ = Json::array();
  Json senders_ = Json::array();
};

// Of links between switches: [link, from, to, from, to, ...], positions of the plan.
Json senders_of(const Fabric& fabric, const RoutedRound& round) {
  std::map<LinkId, std::vector<std::pair<std::uint32_t, std::uint32_t>>> pairs;
  for (const Routed& flow : round.flows) {
    const std::pair pair{index(flow.from), index(flow.to)};
    for (const LinkId link : round.path(flow)) {
      auto& list = pairs[link];  // A message's parts over several QPs follow each other.
      if (list.empty() || list.back() != pair) list.push_back(pair);
    }
  }
  Json rows = Json::array();
  for (const auto& [link, list] : pairs) {
    if (!fabric.at(fabric.cable_of(link)).joins_switches) continue;
    Json row = Json::array({index(link)});
    for (const auto& [from, to] : list) row.insert(row.end(), {from, to});
    rows.push_back(std::move(row));
  }
  return rows;
}

// rounds: [repeats, number in `loads` and `senders`, most messages between switches, most at NICs,
// shared links].
void add_rounds(const Network& network, const Study& study, Json& json) {
  const Routes routes(network.fabric, network.condition, study.options.seed);
  const Sending sending = sending_of(study);
  const std::size_t count = std::min(study.rounds.size(), most_report_rounds);
  LoadTable table;
  Json rounds = Json::array();
  for (std::size_t i = 0; i < count; ++i) {
    const RoutedRound routed =
        route_round(network.fabric, routes, study.seats, study.traffic.rounds[i], sending);
    const RoundLoad& load = study.rounds[i];
    Json senders = Json::array();
    if (network.has_senders) senders = senders_of(network.fabric, routed);
    const std::size_t number =
        table.add(pack_loads(flows_by_link(network.fabric, routed)), std::move(senders));
    rounds.push_back({load.repeats, number, load.between_switches, load.at_nics, load.shared});
  }
  json["left_out"] = study.rounds.size() - count;
  json["rounds"] = std::move(rounds);
  json["loads"] = table.loads();
  json["senders"] = table.senders();
}

Json study_json(const Network& network, const Study& study) {
  Json json{{"order", study.order}, {"algorithm", study.algorithm}};
  json["first"] = study.first == First::near ? "near" : "far";
  json["fabric"] = study.on_rival ? 1 : 0;
  json["note"] = study.note;
  json["steps"] = study.traffic.round_count();
  json["seconds"] = study.seconds;
  json["slowdown"] = study.slowdown();
  json["most"] = study.most();
  Json seats = Json::array();
  for (const NicId id : study.seats.nics) seats.push_back(index(id));
  json["seats"] = std::move(seats);
  add_rounds(network, study, json);
  return json;
}

Json ranks_json(const RankMap& map) {
  Json rows = Json::array();
  for (const Seat& seat : map.seats) {
    rows.push_back({index(seat.rank), seat.host, seat.gpu, seat.nic, seat.side, seat.at, seat.port,
                    seat.lane});
  }
  return rows;
}

bool is_free(const Study& study) {
  const auto is_clear = [](const RoundLoad& round) {
    return round.between_switches <= 1 && round.occupied == 0;
  };
  return !study.rounds.empty() && std::ranges::all_of(study.rounds, is_clear);
}

std::size_t messages_in(const std::vector<Study>& studies) {
  std::size_t count = 0;
  for (const Study& study : studies) {
    const std::size_t rounds = std::min(study.traffic.rounds.size(), most_report_rounds);
    for (std::size_t i = 0; i < rounds; ++i) count += study.traffic.rounds[i].messages.size();
  }
  return count;
}

}  // namespace

ReportJson pack_loads(const std::vector<double>& flows) {
  struct List {
    Json runs = Json::array();
    std::size_t end = 0;
  };
  constexpr double parts = 1000;
  std::map<long long, List> lists;
  for (std::size_t i = 0; i < flows.size();) {
    const long long count = std::llround(flows[i] * parts);
    std::size_t end = i;
    while (end < flows.size() && std::llround(flows[end] * parts) == count) ++end;
    if (count > 0) {
      List& list = lists[count];
      list.runs.push_back(i - list.end);
      list.runs.push_back(end - i);
      list.end = end;
    }
    i = end;
  }
  Json packed = Json::array();
  for (const auto& [count, list] : lists) {
    Json row = Json::array();
    if (count % 1000 == 0) row.push_back(count / 1000);
    if (count % 1000 != 0) row.push_back(static_cast<double>(count) / parts);
    row.insert(row.end(), list.runs.begin(), list.runs.end());
    packed.push_back(std::move(row));
  }
  return packed;
}

ReportJson report_data(const ReportInput& input) {
  Json json{{"name", input.fabric.name}};
  json["bytes"] = input.studies.empty() ? 0 : input.studies.front().options.bytes;
  json["free"] = !input.studies.empty() && is_free(input.studies.front());
  json["fabrics"] = Json::array({fabric_json(input.fabric, input.condition, input.cables)});
  const bool has_rival = std::ranges::any_of(input.studies, &Study::on_rival);
  std::optional<Fabric> rival;
  Condition rival_condition;
  if (has_rival) {
    rival = rival_of(input.fabric, static_cast<std::uint32_t>(input.condition.nics.size()));
    rival_condition = whole(*rival);
    json["fabrics"].push_back(fabric_json(*rival, rival_condition, {}));
  }
  const bool has_senders = messages_in(input.studies) <= most_report_messages;
  json["has_senders"] = has_senders;
  json["studies"] = Json::array();
  for (const Study& study : input.studies) {
    const Network network{study.on_rival ? *rival : input.fabric,
                          study.on_rival ? rival_condition : input.condition, has_senders};
    json["studies"].push_back(study_json(network, study));
  }
  json["ranks"] = ranks_json(input.map);
  return json;
}

}  // namespace accl::topology
