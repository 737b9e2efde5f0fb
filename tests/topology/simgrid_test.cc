// simgrid_test.cc - our times by max-min fair sharing against SimGrid's, an independent simulator:
// the same messages over the same cables, a round after the other and each rank at its own pace,
// within 1%.
//
// SimGrid's textbook model (CM02 without TCP's window and without cross-traffic) gives flows of
// longer latency less; every flow gets the same here, as fair sharing wants it. Without its
// shortcuts ("optim:Full"), which give a message another end now and then.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <map>
#include <set>
#include <simgrid/s4u.hpp>

#include "tests/topology/clusters.h"
#include "topology/contention/pace.h"
#include "topology/mapping/study.h"

namespace accl::topology::test {
namespace {

namespace sg4 = simgrid::s4u;

constexpr double most_difference = 0.01;
constexpr double total_bytes = 256 << 20;
constexpr double latency_seconds = 1e-9;  // Of a NIC's cable; SimGrid wants one.

struct Case {
  const char* name;
  const char* spec;
  const char* order;
  const char* algorithm;
  First first;
};

constexpr const char* bigraph_8 =
    "name: c\ntopology: bigraph\nservers: {count: 8}\nupper: {switches: 2, nics: 2}\n"
    "lower: {switches: 2, nics: 2}\n";
constexpr const char* bigraph_64 =
    "name: c\ntopology: bigraph\nservers: {count: 16, nics: 4}\nupper: {switches: 8, nics: 4}\n"
    "lower: {switches: 8, nics: 4}\n";
constexpr const char* slow_cables =
    "name: c\ntopology: bigraph\nservers: {count: 32}\nupper: {switches: 4, nics: 4}\n"
    "lower: {switches: 4, nics: 4}\ngbps: 40\nnic_gbps: 100\n";
constexpr const char* uneven =
    "name: c\ntopology: bigraph\nservers: {count: 28, nics: 2}\n"
    "upper: {switches: 4, nics: [8, 8, 6, 6]}\nlower: {switches: 4, nics: [8, 8, 8, 4]}\n"
    "cables_per_pair: 2\ngbps: 200\n";
constexpr const char* leaf_spine_64 =
    "name: c\ntopology: leaf-spine\nservers: {count: 64}\nleaf: {switches: 16, nics: 4}\n"
    "spine: {switches: 4}\n";
constexpr const char* bigraph_512 =
    "name: c\ntopology: bigraph\nservers: {count: 512}\nupper: {switches: 16, nics: 16}\n"
    "lower: {switches: 16, nics: 16}\n";
constexpr const char* bigraph_2048 =
    "name: c\ntopology: bigraph\nservers: {count: 2048}\nupper: {switches: 32, nics: 32}\n"
    "lower: {switches: 32, nics: 32}\n";

constexpr Case cases[] = {
    {"mapped8", bigraph_8, "hdrm", "hd", First::far},
    {"sorted8", bigraph_8, "sorted", "hd", First::near},
    {"tree8", bigraph_8, "sorted", "tree", First::near},
    {"mapped64", bigraph_64, "hdrm", "hd", First::far},
    {"near64", bigraph_64, "sorted", "hd", First::near},
    {"far64", bigraph_64, "sorted", "hd", First::far},
    {"shuffled64", bigraph_64, "shuffled", "hd", First::near},
    {"ring64", bigraph_64, "sorted", "ring", First::near},
    {"shuffled_ring64", bigraph_64, "shuffled", "ring", First::near},
    {"bruck64", bigraph_64, "shuffled", "bruck", First::near},
    {"slow_mapped", slow_cables, "hdrm", "hd", First::far},
    {"slow_shuffled", slow_cables, "shuffled", "hd", First::far},
    {"uneven_mapped", uneven, "hdrm", "hd", First::far},
    {"uneven_shuffled", uneven, "shuffled", "hd", First::near},
    {"leaf_spine_near", leaf_spine_64, "sorted", "hd", First::near},
    {"leaf_spine_shuffled", leaf_spine_64, "shuffled", "hd", First::near},
    {"leaf_spine_tree", leaf_spine_64, "shuffled", "tree", First::near},
    {"mapped512", bigraph_512, "hdrm", "hd", First::far},
    {"far512", bigraph_512, "sorted", "hd", First::far},
    {"shuffled512", bigraph_512, "shuffled", "hd", First::near},
    {"mapped2048", bigraph_2048, "hdrm", "hd", First::far},
    {"near2048", bigraph_2048, "sorted", "hd", First::near},
};

Seats seats_of_case(const Case& one, const Fabric& fabric, const Condition& condition) {
  const std::string_view order = one.order;
  if (order == "sorted") return sorted_seats(condition);
  if (order == "shuffled") return shuffled_seats(fabric, condition, 1);
  return map_ranks(fabric, condition, {.algorithm = one.algorithm, .first = one.first, .moves = 0})
      .seats;
}

// The NICs as hosts, every direction of a cable as a link.
class Platform {
 public:
  explicit Platform(const Fabric& fabric) : fabric_(fabric), zone_(sg4::create_full_zone("all")) {
    for (std::uint32_t i = 0; i < fabric.nics.size(); ++i) {
      hosts_.push_back(zone_->create_host("nic" + std::to_string(i), 1e9)->seal());
    }
    for (std::uint32_t i = 0; i < fabric.graph.links().size(); ++i) {
      const LinkId link{i};
      const bool of_nic = !fabric.at(fabric.cable_of(link)).joins_switches;
      sg4::Link* const made =
          zone_->create_link("link" + std::to_string(i), fabric.graph.link(link).bytes_per_second);
      links_.push_back(made->set_latency(of_nic ? latency_seconds : 0)->seal());
    }
  }

  void add_routes(const Seats& seats, const RoutedRound& round) {
    for (const Routed& flow : round.flows) {
      const std::uint32_t from = index(seats.at(flow.from));
      const std::uint32_t to = index(seats.at(flow.to));
      if (!routed_.insert({from, to}).second) continue;
      std::vector<sg4::LinkInRoute> path;
      for (const LinkId link : round.path(flow)) path.emplace_back(links_[index(link)]);
      zone_->add_route(hosts_[from]->get_netpoint(), hosts_[to]->get_netpoint(), nullptr, nullptr,
                       path, false);
    }
  }
  sg4::NetZone* zone() { return zone_; }
  sg4::Host* host(NicId nic) const { return hosts_[index(nic)]; }

 private:
  const Fabric& fabric_;
  sg4::NetZone* zone_;
  std::vector<sg4::Host*> hosts_;
  std::vector<const sg4::Link*> links_;
  std::set<std::pair<std::uint32_t, std::uint32_t>> routed_;
};

struct Prepared {
  Fabric fabric;
  Seats seats;
  Traffic traffic;
  std::vector<RoutedRound> rounds;
  double chunk_bytes = 0;
};

Prepared prepare(const Case& one) {
  Prepared all{.fabric = fabric_from(one.spec + std::string("latency: {start_us: 0, hop_us: 0}\n")),
               .seats = {},
               .traffic = {},
               .rounds = {}};
  const Condition condition = whole(all.fabric);
  const Routes routes(all.fabric, condition);
  all.seats = seats_of_case(one, all.fabric, condition);
  Shape shape;
  shape.size = all.seats.size();
  shape.first = one.first;
  all.traffic = traffic_of(*find_algorithm(Collective::allreduce, one.algorithm), shape);
  all.chunk_bytes = total_bytes / all.traffic.chunks;
  for (const Round& round : all.traffic.rounds) {
    all.rounds.push_back(route_round(all.fabric, routes, all.seats, round, {}));
  }
  return all;
}

// Makes the platform and runs what `start` starts on it, to the end.
void run_engine(const Prepared& all, const std::function<void(const Platform&)>& start) {
  int argc = 6;
  std::string words[] = {"test",
                         "--cfg=network/model:CM02",
                         "--cfg=network/TCP-gamma:0",
                         "--cfg=network/crosstraffic:0",
                         "--cfg=network/optim:Full",
                         "--log=root.threshold:error"};
  char* argv[] = {words[0].data(), words[1].data(), words[2].data(), words[3].data(),
                  words[4].data(), words[5].data(), nullptr};
  sg4::Engine engine(&argc, argv);
  Platform platform(all.fabric);
  for (const RoutedRound& round : all.rounds) platform.add_routes(all.seats, round);
  platform.zone()->seal();
  start(platform);
  engine.run();
}

// Seconds of every round, by SimGrid.
std::vector<double> simulate(const Prepared& all) {
  std::vector<double> seconds;
  const auto drive = [&](const Platform& platform) {
    for (const RoutedRound& round : all.rounds) {
      const double before = sg4::Engine::get_clock();
      std::vector<sg4::CommPtr> messages;
      for (const Routed& flow : round.flows) {
        const auto bytes = static_cast<std::uint64_t>(flow.chunks * all.chunk_bytes + 0.5);
        messages.push_back(sg4::Comm::sendto_async(platform.host(all.seats.at(flow.from)),
                                                   platform.host(all.seats.at(flow.to)), bytes));
      }
      sg4::Comm::wait_all(messages);
      seconds.push_back(sg4::Engine::get_clock() - before);
    }
  };
  run_engine(all, [&](const Platform& platform) {
    sg4::Actor::create("driver", platform.host(NicId{0}), [&] { drive(platform); });
  });
  return seconds;
}

// One rank: a round's messages, and when all of its own have arrived, the next round's; slice after
// slice. A mailbox that has its receiver takes a message before that asks for it.
void walk(const Prepared& all, const std::vector<sg4::ActorPtr>& ranks, Position self,
          std::uint32_t slices) {
  static int payload = 0;  // SimGrid hands its address on.
  static int* landing = nullptr;
  std::uint32_t number = 0;  // Of the round, with repeats and slices.
  const auto join = [&](const Message& message) {
    sg4::Mailbox* const box = sg4::Mailbox::by_name(
        fmt::format("{}-{}-{}", number, index(message.from), index(message.to)));
    if (message.to == self) return box->get_async(&landing);
    box->set_receiver(ranks[index(message.to)]);
    const double bytes = message.chunks * all.chunk_bytes / slices;
    return box->put_async(&payload, static_cast<std::uint64_t>(bytes + 0.5));
  };
  const auto exchange = [&](const Round& round) {
    std::vector<sg4::CommPtr> own;
    for (const Message& message : round.messages) {
      if (message.from == self || message.to == self) own.push_back(join(message));
    }
    sg4::Comm::wait_all(own);
    ++number;
  };
  for (std::uint32_t slice = 0; slice < slices; ++slice) {
    for (const Round& round : all.traffic.rounds) {
      for (std::uint32_t i = 0; i < round.repeats; ++i) exchange(round);
    }
  }
}

// Seconds of the whole plan, each rank at its own pace, by SimGrid.
double simulate_paced(const Prepared& all, std::uint32_t slices) {
  double seconds = 0;
  std::vector<sg4::ActorPtr> ranks;
  run_engine(all, [&](const Platform& platform) {
    for (std::uint32_t p = 0; p < all.seats.size(); ++p) {
      const auto body = [&all, &ranks, &seconds, p, slices] {
        walk(all, ranks, Position{p}, slices);
        seconds = std::max(seconds, sg4::Engine::get_clock());
      };
      ranks.push_back(sg4::Actor::create("rank", platform.host(all.seats.at(Position{p})), body));
    }
  });
  return seconds;
}

// How many rounds differ; said on stderr.
int compare(const Case& one, double factor) {
  const Prepared all = prepare(one);
  const std::vector<double> theirs = simulate(all);
  if (theirs.size() != all.rounds.size()) return 100;
  int wrong = 0;
  for (std::size_t i = 0; i < theirs.size(); ++i) {
    const double ours = factor * time_of(all.fabric, all.rounds[i], all.chunk_bytes).seconds;
    const bool is_near = std::abs(ours - theirs[i]) <= most_difference * theirs[i] + 1e-8;
    if (is_near) continue;
    ++wrong;
    fmt::print(stderr, "{} round {}: ours {:.6f} s, SimGrid {:.6f} s\n", one.name, i, ours,
               theirs[i]);
  }
  return std::min(wrong, 99);
}

int compare_slices(const Case& one, double factor, std::uint32_t slices) {
  const Prepared all = prepare(one);
  const double theirs = simulate_paced(all, slices);
  const double ours = factor * paced_seconds(all.fabric, all.traffic, all.rounds, all.chunk_bytes,
                                             {.slices = slices});
  if (std::abs(ours - theirs) <= most_difference * theirs) return 0;
  fmt::print(stderr, "{} at its own pace: ours {:.6f} s, SimGrid {:.6f} s\n", one.name, ours,
             theirs);
  return 1;
}

int compare_paced(const Case& one, double factor) { return compare_slices(one, factor, 1); }
int compare_sliced(const Case& one, double factor) { return compare_slices(one, factor, 3); }

class SimGrid : public testing::TestWithParam<Case> {};

// An engine cannot be made twice in a process.
int in_child(int (*compare)(const Case&, double), const Case& one, double factor) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(compare(one, factor));
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status)) << "died of signal " << WTERMSIG(status);
  return WEXITSTATUS(status);
}

TEST_P(SimGrid, AgreesWithin1Percent) {
  EXPECT_EQ(in_child(compare, GetParam(), 1), 0) << "rounds that differ; see above";
}

class SimGridPaced : public testing::TestWithParam<Case> {};

TEST_P(SimGridPaced, AgreesWithin1Percent) { EXPECT_EQ(in_child(compare_paced, GetParam(), 1), 0); }

class SimGridSliced : public testing::TestWithParam<Case> {};

TEST_P(SimGridSliced, AgreesWithin1Percent) {
  EXPECT_EQ(in_child(compare_sliced, GetParam(), 1), 0);
}

TEST(SimGridControl, ATimeThatIsOffByTwoPercentIsSeen) {
  EXPECT_EQ(in_child(compare, cases[0], 1.02), 5);  // All rounds of 8 ranks; two are the same.
  EXPECT_EQ(in_child(compare, cases[0], 0.98), 5);
  EXPECT_EQ(in_child(compare_paced, cases[0], 1.02), 1);
  EXPECT_EQ(in_child(compare_paced, cases[0], 0.98), 1);
}

std::string name_of_case(const testing::TestParamInfo<Case>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(Cases, SimGrid, testing::ValuesIn(cases), name_of_case);
// The last one takes SimGrid half a minute.
INSTANTIATE_TEST_SUITE_P(Cases, SimGridPaced,
                         testing::ValuesIn(std::begin(cases), std::end(cases) - 1), name_of_case);
// Slices cost SimGrid as much as so many plans.
INSTANTIATE_TEST_SUITE_P(Cases, SimGridSliced, testing::ValuesIn(cases + 3, cases + 7),
                         name_of_case);

}  // namespace
}  // namespace accl::topology::test
