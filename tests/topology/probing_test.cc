// probing_test.cc - accl-topo paths over a network that is a model: what it finds, and what it asks
// for, whatever gets lost, is limited, or never answers.
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <set>

#include "accl/base/error.h"
#include "accl/base/ids.h"
#include "topology/probing/classes.h"

namespace accl::topology {
namespace {

Address at(const std::string& text) { return *parse_address(text); }

const Address here = at("10.0.0.2");
const Address there = at("10.0.1.2");
const Address first_leaf = at("10.0.0.1");
const Address last_leaf = at("10.0.1.1");

// Two leaves, and spines between them that labels are dealt to. Time passes where somebody waits.
class Network : public Wire {
 public:
  explicit Network(std::uint32_t label_count) {
    for (std::uint16_t label = 1; label <= label_count; ++label) labels_.push_back(label);
  }

  unsigned distance = 4;
  std::uint32_t spines = 4;
  std::set<Address> silent;
  std::uint32_t loses_every = 0;  // So many answers, one is lost.
  Milliseconds limit{0};          // A router answers once in this time.
  bool quotes_little = false;
  bool has_no_way = false;            // The first leaf has no route.
  std::optional<Address> lost_spine;  // This spine has none.
  bool answers_late = false;          // The destination, only to a TTL beyond its distance.
  std::vector<Probe> sent;

  Address spine_of(std::uint16_t label) const {
    Address spine = at("172.16.0.9");
    spine.bytes[15] = static_cast<std::uint8_t>(9 + label % spines);
    return spine;
  }
  bool is_refused(const Probe& probe) const {
    return lost_spine && probe.ttl > 2 && spine_of(probe.label) == *lost_spine;
  }
  Address router(const Probe& probe) const {
    if (is_refused(probe)) return *lost_spine;
    if (probe.ttl >= distance) return probe.to;
    if (probe.ttl == 1 || has_no_way) return first_leaf;
    return probe.ttl == 2 ? spine_of(probe.label) : last_leaf;
  }

  std::span<const std::uint16_t> labels() const override { return labels_; }
  Clock::time_point now() const override { return now_; }

  void send(const Probe& probe) override {
    sent.push_back(probe);
    const Address by = router(probe);
    const bool is_of_nic = by == probe.to && probe.port == roce_port;
    if (silent.contains(by) || is_of_nic) return;
    if (answers_late && by == probe.to && probe.ttl == distance) return;
    if (limit.count() > 0 && free_at_[by] > now_) return;
    free_at_[by] = now_ + limit;
    if (loses_every > 0 && ++answers_ % loses_every == 0) return;
    const auto ttl = quotes_little ? std::uint8_t{0} : probe.ttl;
    coming_.emplace_back(now_ + Milliseconds(1),
                         Answer{.by = by,
                                .to = probe.to,
                                .port = probe.port,
                                .label = probe.label,
                                .ttl = ttl,
                                .has_no_way = (has_no_way && probe.ttl > 1) || is_refused(probe)});
  }

  std::optional<Answer> receive(Clock::time_point until) override {
    if (coming_.empty() || coming_.front().first > until) {
      now_ = std::max(now_, until);
      return std::nullopt;
    }
    const auto [when, answer] = coming_.front();
    coming_.pop_front();
    now_ = std::max(now_, when);
    return answer;
  }

 private:
  std::vector<std::uint16_t> labels_;
  Clock::time_point now_{};
  std::map<Address, Clock::time_point> free_at_;
  std::uint32_t answers_ = 0;
  std::deque<std::pair<Clock::time_point, Answer>> coming_;
};

Trace trace_of(Network& network, const ProbeLimits& limits = {}) {
  return trace(network, std::span(&there, 1), limits).at(0);
}

// Every label is in the class of its spine, and none is missing.
void expect_a_class_a_spine(const Network& network, const Trace& trace) {
  const PairPaths pair = classify(here, trace);
  EXPECT_EQ(pair.classes.size(), network.spines);
  std::size_t count = 0;
  for (const PathClass& one : pair.classes) {
    ASSERT_EQ(one.hops.size(), 3U);
    EXPECT_EQ(one.hops.front(), first_leaf);
    EXPECT_EQ(one.hops.back(), last_leaf);
    for (const std::uint16_t label : one.labels) {
      EXPECT_EQ(one.hops[1], network.spine_of(label)) << label;
    }
    count += one.labels.size();
  }
  EXPECT_EQ(count, network.labels().size());
}

// A NIC would take it for RoCE.
std::size_t strays(const Network& network) {
  const auto is_stray = [&](const Probe& probe) {
    return probe.port == roce_port && probe.ttl >= network.distance;
  };
  return static_cast<std::size_t>(std::ranges::count_if(network.sent, is_stray));
}

// All paths are found, and the NIC is left alone.
Trace expect_all_paths(Network& network) {
  const Trace found = trace_of(network);
  expect_a_class_a_spine(network, found);
  EXPECT_EQ(strays(network), 0U);
  return found;
}

TEST(Probing, FindsAClassASpineAndSendsNothingToTheNic) {
  Network network(64);
  const Trace found = expect_all_paths(network);
  EXPECT_LE(network.sent.size(), 64U * 3 + 8) << "nothing is asked twice without a reason";
  EXPECT_EQ(print_doubts(classify(here, found), found), "");
}

// It seems to be one farther than it is.
TEST(Probing, ADestinationThatAnswersLateGetsNoProbeOfRoce) {
  Network network(64);
  network.answers_late = true;
  expect_all_paths(network);
}

// Labels that meet it would go nowhere.
TEST(Probing, ASpineThatLostItsRoutesIsNoPath) {
  for (const std::uint16_t label : {1, 2, 3, 4}) {
    Network network(64);
    network.lost_spine = network.spine_of(label);
    const Trace found = trace_of(network);
    EXPECT_EQ(found.refused, 16U);
    EXPECT_EQ(found.labels.size(), 48U);
    const PairPaths pair = classify(here, found);
    EXPECT_EQ(pair.classes.size(), network.spines - 1);
    for (const PathClass& one : pair.classes) EXPECT_NE(one.hops[1], *network.lost_spine);
    EXPECT_NE(print_doubts(pair, found).find("16 labels are left out"), std::string::npos);
  }
}

TEST(Probing, ManyProbesAreUnderWayButNotFasterThanTheRate) {
  Network network(64);
  const Clock::time_point start = network.now();
  static_cast<void>(trace_of(network, {.per_second = 500}));
  const std::chrono::duration<double> took = network.now() - start;
  EXPECT_GE(took.count(), 0.9 * static_cast<double>(network.sent.size()) / 500);
  EXPECT_LT(took.count(), 2.0) << "one after the other would take longer";
}

TEST(Probing, WhatIsLostIsAskedForAgain) {
  Network network(64);
  network.loses_every = 3;
  expect_all_paths(network);
}

TEST(Probing, RoutersThatAnswerOnceASecondAreWaitedFor) {
  Network network(16);
  network.limit = Milliseconds(1000);
  EXPECT_EQ(expect_all_paths(network).undecided, 0U);
}

TEST(Probing, WhereTimeIsUpLabelsThatAreNotKnownAreLeftOut) {
  Network network(64);
  network.limit = Milliseconds(1000);
  const Trace found = trace_of(network, {.longest = Milliseconds(10'000)});
  EXPECT_GT(found.undecided, 0U);
  EXPECT_EQ(found.undecided + found.labels.size(), 64U);
  EXPECT_EQ(classify(here, found).classes.size(), network.spines);
  EXPECT_NE(print_doubts(classify(here, found), found).find("time was up"), std::string::npos);
}

TEST(Probing, ASilentSpineIsAStar) {
  Network network(64);
  network.silent = {network.spine_of(2)};
  const Trace found = trace_of(network);
  const PairPaths pair = classify(here, found);
  ASSERT_EQ(pair.classes.size(), 4U);
  EXPECT_EQ(pair.classes[0].hops, (Hops{first_leaf, std::nullopt, last_leaf}));
  EXPECT_EQ(pair.classes[0].labels.size(), 16U);
  EXPECT_NE(print_doubts(pair, found).find("some routers at hop 2"), std::string::npos);
}

TEST(Probing, WhereNoSpineAnswersThatIsSaid) {
  Network network(8);
  for (std::uint16_t label = 0; label < 4; ++label) network.silent.insert(network.spine_of(label));
  const Trace found = trace_of(network);
  const PairPaths pair = classify(here, found);
  ASSERT_EQ(pair.classes.size(), 1U);
  EXPECT_NE(print_doubts(pair, found).find("no router at hop 2 answers"), std::string::npos);
}

TEST(Probing, ADestinationBehindAFirewallIsOneBehindTheLastRouter) {
  Network network(16);
  network.silent = {there};
  EXPECT_FALSE(expect_all_paths(network).has_answered);
}

TEST(Probing, OnLayerTwoNothingTellsLabelsApart) {
  Network network(16);
  network.distance = 1;
  const Trace found = trace_of(network);
  const PairPaths pair = classify(here, found);
  ASSERT_EQ(pair.classes.size(), 1U);
  EXPECT_TRUE(pair.classes[0].hops.empty());
  EXPECT_EQ(pair.classes[0].labels.size(), 16U);
  EXPECT_EQ(strays(network), 0U);
  EXPECT_NE(print_doubts(pair, found).find("layer 2"), std::string::npos);
}

TEST(Probing, RoutersThatQuoteEightBytesAreAskedATtlAtATime) {
  Network network(64);
  network.quotes_little = true;
  expect_all_paths(network);
}

TEST(Probing, NobodyAtAllIsAnErrorThatNamesTheDestination) {
  Network network(16);
  network.distance = 1;
  network.silent = {there};
  try {
    static_cast<void>(trace_of(network));
    FAIL() << "found a way to nowhere";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::remote);
    EXPECT_NE(std::string(error.what()).find("10.0.1.2"), std::string::npos) << error.what();
  }
  EXPECT_LE(network.sent.size(), 48U);
}

TEST(Probing, ARouterWithoutARouteIsNamed) {
  Network network(16);
  network.has_no_way = true;
  network.distance = 100;
  try {
    static_cast<void>(trace_of(network));
    FAIL() << "found a way to nowhere";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("10.0.0.1 says"), std::string::npos) << error.what();
  }
  EXPECT_EQ(strays(network), 0U);
}

TEST(Probing, SeveralDestinationsAreAskedTogether) {
  Network network(16);
  const std::vector<Address> to{there, at("10.0.1.3"), at("10.0.1.4")};
  const std::vector<Trace> found = trace(network, to, {});
  ASSERT_EQ(found.size(), 3U);
  for (std::size_t i = 0; i < to.size(); ++i) {
    EXPECT_EQ(found[i].to, to[i]);
    expect_a_class_a_spine(network, found[i]);
  }
}

// The same network with other addresses.
class NetworkOfIpv6 : public Network {
 public:
  using Network::Network;
  static Address ipv6(Address address) {
    address.bytes[10] = address.bytes[11] = 0;
    address.bytes[0] = 0xFD;
    return address;
  }
  void send(const Probe& probe) override {
    EXPECT_EQ(probe.to, ipv6(there));
    Probe as_ipv4 = probe;
    as_ipv4.to = there;
    Network::send(as_ipv4);
  }
  std::optional<Answer> receive(Clock::time_point until) override {
    auto answer = Network::receive(until);
    if (answer) answer->by = ipv6(answer->by);
    if (answer) answer->to = ipv6(answer->to);
    return answer;
  }
};

TEST(Probing, AddressesMayBeOfIpv6) {
  NetworkOfIpv6 network(64);
  const Address to = NetworkOfIpv6::ipv6(there);
  const PairPaths pair = classify(NetworkOfIpv6::ipv6(here), trace(network, {&to, 1}, {}).at(0));
  EXPECT_EQ(strays(network), 0U);
  ASSERT_EQ(pair.classes.size(), 4U);
  EXPECT_EQ(text_of(*pair.classes[0].hops[1]), "fd00::ac10:9");
  const std::string json = print_paths_json(std::span(&pair, 1));
  EXPECT_NE(json.find(R"("from": "fd00::a00:2", "to": "fd00::a00:102")"), std::string::npos);
  EXPECT_NE(json.find(R"("hops":["fd00::a00:1","fd00::ac10:9","fd00::a00:101"])"),
            std::string::npos)
      << json;
}

TEST(Addresses, AreOfOneKindOrTheOther) {
  for (const char* text : {"10.0.0.1", "255.255.255.255", "fd00::1", "::1", "2001:db8::"}) {
    EXPECT_EQ(text_of(at(text)), text);
  }
  EXPECT_EQ(at("::ffff:10.0.0.1"), at("10.0.0.1")) << "as GIDs have it";
  EXPECT_EQ(at("FD00:0:0::0001"), at("fd00::1"));
  EXPECT_LT(at("9.0.0.0"), at("10.0.0.0"));
  EXPECT_LT(at("fd00::9"), at("fd00::10"));
  EXPECT_TRUE(at("10.0.0.1").is_ipv4());
  EXPECT_FALSE(at("fd00::1").is_ipv4() || at("::10.0.0.1").is_ipv4());
  EXPECT_TRUE(at("fe80::1").is_link_local() && at("febf::1").is_link_local());
  EXPECT_FALSE(at("fd00::1").is_link_local() || at("fec0::1").is_link_local());
  for (const char* text : {"", "host", "10.0.0", "10.0.0.1.2", "fd00::1%eth0", "fd00:::1"}) {
    EXPECT_FALSE(parse_address(text)) << text;
  }
}

TEST(PathClasses, AreInTheOrderOfAddressesAsNumbers) {
  const Trace found{.to = there,
                    .has_answered = true,
                    .labels = {{7, {at("172.16.0.10")}},
                               {5, {at("172.16.0.9")}},
                               {2, {at("172.16.0.10")}},
                               {3, {std::nullopt}}}};
  const PairPaths pair = classify(here, found);
  EXPECT_EQ(print_paths_json(std::span(&pair, 1)), R"({"version": 1, "pairs": [
 {"from": "10.0.0.2", "to": "10.0.1.2", "classes": [
  {"hops":["*"],"labels":[3]},
  {"hops":["172.16.0.9"],"labels":[5]},
  {"hops":["172.16.0.10"],"labels":[2,7]}]}
]}
)");
  EXPECT_EQ(print_paths(std::span(&pair, 1)), R"(10.0.0.2 to 10.0.1.2: 3 classes, 4 labels
  class  hops         labels
      0  *                 1: 3
      1  172.16.0.9        1: 5
      2  172.16.0.10       2: 2 7
)");
}

}  // namespace
}  // namespace accl::topology
