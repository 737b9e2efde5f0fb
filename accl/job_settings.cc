#include "accl/job_settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>
#include <set>

#include "accl/base/assert.h"
#include "accl/base/error.h"
#include "accl/base/log.h"

namespace accl {
namespace {

using topology::RankMap;

using Places = std::map<std::string, std::vector<std::size_t>>;  // Host -> positions or ranks.

std::string short_name(const std::string& host) { return host.substr(0, host.find('.')); }

// Whether no two of these hosts, and no address, are the same without their domains.
bool are_told_apart(const Places& places) {
  std::set<std::string> names;
  return std::ranges::all_of(places, [&](const auto& each) {
    const std::string name = short_name(each.first);
    const bool is_number = name.find_first_not_of("0123456789") == std::string::npos;
    return !is_number && names.insert(name).second;
  });
}

// Hosts are named with and without their domain: where that is one and the same, without.
void drop_domains(Places& one, Places& other) {
  if (!are_told_apart(one) || !are_told_apart(other)) return;
  for (Places* places : {&one, &other}) {
    Places shorter;
    for (auto& [host, numbers] : *places) shorter[short_name(host)] = std::move(numbers);
    *places = std::move(shorter);
  }
}

// Positions of every host, by GPU number.
Places seats_by_host(const RankMap& map) {
  Places seats;
  for (std::size_t p = 0; p < map.seats.size(); ++p) seats[map.seats[p].host].push_back(p);
  for (auto& [host, positions] : seats) {
    std::ranges::stable_sort(positions, {}, [&](std::size_t p) { return map.seats[p].gpu; });
  }
  return seats;
}

std::string some_hosts(const Places& places) {
  constexpr std::size_t most = 4;
  std::vector<std::string> names;
  for (const auto& [host, unused] : places) {
    if (names.size() == most) return fmt::format("{}, ...", fmt::join(names, ", "));
    names.push_back(host);
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

// The length of the table, a line's end, the table, the map.
std::string JobSettings::pack() const {
  if (selection.empty() && rank_map.empty()) return {};
  return fmt::format("{}\n{}{}", selection.size(), selection, rank_map);
}

JobSettings JobSettings::unpack(const std::string& text) {
  if (text.empty()) return {};
  std::size_t length = 0;
  const std::size_t start = text.find('\n') + 1;
  std::from_chars(text.data(), text.data() + text.size(), length);
  ACCL_ASSERT(start > 0 && length <= text.size() - start, text.size(), start, length);
  return {.selection = text.substr(start, length), .rank_map = text.substr(start + length)};
}

std::vector<Rank> order_of(const RankMap& map, std::span<const Member> members) {
  Places seats = seats_by_host(map);
  Places ranks;
  for (std::size_t r = 0; r < members.size(); ++r) ranks[members[r].host].push_back(r);
  const bool is_said = !seats.contains("");  // A map may name no hosts.
  const bool is_rehearsal = ranks.size() == 1 && seats.size() > 1;
  if (!is_said || is_rehearsal) {
    if (is_rehearsal) {
      log(LogLevel::info, "all ranks are on one host: the rank map's own numbers count");
    }
    return map.order();
  }
  drop_domains(seats, ranks);
  std::vector<Rank> order(map.seats.size());
  for (const auto& [host, local] : ranks) {
    const auto found = seats.find(host);
    if (found == seats.end()) {
      fail(ErrorKind::invalid_argument,
           "the rank map has no host {}, where rank {} runs (it has {}); make one for these hosts "
           "with 'accl-topo map SPEC.yaml --hosts FILE'",
           host, local.front(), some_hosts(seats));
    }
    if (found->second.size() != local.size()) {
      fail(ErrorKind::invalid_argument,
           "the rank map seats {} ranks on host {} and the job runs {} there; start as many, or "
           "make another map with 'accl-topo map SPEC.yaml --hosts FILE'",
           found->second.size(), host, local.size());
    }
    for (std::size_t k = 0; k < local.size(); ++k) {
      order[found->second[k]] = Rank{static_cast<std::uint32_t>(local[k])};
    }
  }
  return order;
}

std::vector<std::uint32_t> lanes_of(const RankMap& map, std::span<const Rank> order, Rank self) {
  const auto& seats = map.seats;
  const auto is_as_the_first = [&](const topology::Seat& seat) {
    return seat.lane == seats.front().lane && seat.own_lanes.empty();
  };
  if (std::ranges::all_of(seats, is_as_the_first)) return {};
  const auto place = static_cast<std::size_t>(std::ranges::find(order, self) - order.begin());
  std::vector<std::uint32_t> lanes(seats.size());
  for (std::size_t p = 0; p < seats.size(); ++p) {
    lanes[index(order[p])] = seats[place].lane_to(seats[p].rank);
  }
  return lanes;
}

std::string missing_nic(const topology::Seat& seat, const std::string& devices) {
  std::vector<std::string> names;
  std::error_code problem;  // Many hosts have no such folder.
  for (std::filesystem::directory_iterator each(devices, problem), end; each != end;
       each.increment(problem)) {
    names.push_back(each->path().filename());
  }
  if (seat.nic.empty() || names.empty()) return {};
  if (std::ranges::find(names, seat.nic) != names.end()) return {};
  std::ranges::sort(names);
  return fmt::format(
      "the rank map gives this rank NIC {} and this host has {}; is the map made for this cluster?",
      seat.nic, fmt::join(names, ", "));
}

}  // namespace accl
