// The parts that need no processes: bytes on the wire, the gate's eye, interfaces, the tree, the
// roster.

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <set>

#include "accl/base/error.h"
#include "accl/bootstrap/council.h"
#include "accl/bootstrap/facts.h"
#include "accl/bootstrap/identity.h"
#include "accl/bootstrap/interface.h"
#include "accl/bootstrap/roster.h"
#include "accl/bootstrap/tree.h"
#include "accl/bootstrap/wire.h"

namespace accl::bootstrap {
namespace {

TEST(Wire, APreambleIsKnownByItsSecret) {
  const Secret secret = random_secret();
  EXPECT_NE(secret, random_secret());
  const std::string bytes = encode(Preamble{Purpose::meet, 5, 77, secret});
  ASSERT_EQ(bytes.size(), preamble_bytes);
  EXPECT_EQ(objection(bytes, secret), "");
  const Preamble preamble = decode_preamble(bytes);
  EXPECT_EQ(preamble.purpose, Purpose::meet);
  EXPECT_EQ(preamble.from, 5u);
  EXPECT_EQ(preamble.topic, 77u);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    EXPECT_EQ(objection(bytes.substr(0, i), secret), "") << i;
    std::string wrong = bytes;
    wrong[i] = static_cast<char>(wrong[i] ^ 0x40);
    const bool free_field = i >= 12 && i < 24;  // Rank and topic may be anything.
    EXPECT_EQ(objection(wrong, secret).empty(), free_field) << i;
  }
  EXPECT_EQ(objection("GET", secret), "it does not speak our protocol");
}

TEST(Wire, AReaderNeverReadsPastTheEnd) {
  Reader reader(std::string_view("\x05\0\0\0ab", 6));
  EXPECT_EQ(reader.text(), "");
  EXPECT_FALSE(reader.good());
  EXPECT_EQ(reader.number<std::uint64_t>(), 0u);
  Reader count(std::string_view("\xff\xff\xff\x7f....", 8));
  EXPECT_EQ(count.count(4), 0u);
  EXPECT_FALSE(count.good());
}

std::vector<Fact> sample_facts() {
  StateFact state{7, 1, 2, {}};
  state.state.open = true;
  state.state.call = 5;
  state.state.count = 1ull << 40;
  state.state.waiting_for = -1;
  state.state.report = {ReportKind::broken, 3, "reset"};
  state.state.dead = {{1, "a to b"}, {2, "", false}};
  return {GoneFact{3, Gone::died}, AbortFact{9, {1, 2, 3}, ErrorKind::remote, "text"},
          InquiryFact{9, {4, 5}, 12}, state,
          VerdictFact{{{ErrorKind::remote, {{3, Gone::died}}, 0, ""},
                       {ErrorKind::timeout, {}, 9, "sentence"}}}};
}

TEST(Facts, ComeBackAsTheyWent) {
  for (const Fact& fact : sample_facts()) {
    const std::string bytes = encode(fact);
    const std::optional<Fact> back = decode_fact(bytes);
    ASSERT_TRUE(back.has_value());
    EXPECT_EQ(encode(*back), bytes);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      EXPECT_FALSE(decode_fact(bytes.substr(0, i)).has_value());
    }
    EXPECT_FALSE(decode_fact(bytes + "x").has_value());
  }
}

Interface interface_of(const std::string& name, const std::string& host) {
  return {name, resolve({host, 1}, "test")};
}

TEST(Interfaces, AreChosenAsNcclDoes) {
  const std::vector<Interface> all{
      interface_of("lo", "127.0.0.1"),     interface_of("docker0", "172.17.0.1"),
      interface_of("eth0", "192.0.2.1"),   interface_of("eth1", "192.0.2.2"),
      interface_of("eth10", "192.0.2.10"), interface_of("lo", "::1"),
      interface_of("eth1", "fe80::1"),     interface_of("eth1", "2001:db8::1")};
  const auto chosen = [&](const std::string& filter, int family = AF_UNSPEC) {
    Address address = choose_address(all, filter, family);
    address.set_port(0);
    return address.text();
  };
  EXPECT_EQ(chosen(""), "192.0.2.1:0");
  EXPECT_EQ(chosen("", AF_INET6), "[2001:db8::1]:0");
  EXPECT_EQ(chosen("eth1"), "192.0.2.2:0");
  EXPECT_EQ(chosen("=eth10"), "192.0.2.10:0");
  EXPECT_EQ(chosen("eth9,eth1"), "192.0.2.2:0");
  EXPECT_EQ(chosen("^eth0,eth1"), "172.17.0.1:0");
  EXPECT_EQ(chosen("^=eth0"), "192.0.2.2:0");
  EXPECT_EQ(chosen("^eth,docker"), "127.0.0.1:0");
  EXPECT_EQ(chosen("lo", AF_INET6), "[::1]:0");
  try {
    static_cast<void>(chosen("ib"));
    ADD_FAILURE();
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("ACCL_SOCKET_IFNAME='ib'"), std::string::npos) << text;
    EXPECT_NE(text.find("eth0 (192.0.2.1:1)"), std::string::npos) << text;
  }
}

std::vector<Member> members_on_hosts(std::uint32_t size, std::uint32_t per_host) {
  std::vector<Member> members(size);
  for (std::uint32_t rank = 0; rank < size; ++rank) {
    members[rank].rank = Rank{rank};
    members[rank].host_id = rank / per_host;
  }
  return members;
}

void expect_neighbours_fit(const std::vector<Member>& members, std::uint32_t rank) {
  const std::vector<std::uint32_t> mine = neighbours(members, rank);
  EXPECT_LE(mine.size(), 5u);
  EXPECT_TRUE(rank == 0 || std::count(mine.begin(), mine.end(), (rank - 1) / 2) == 1);
  for (const std::uint32_t other : mine) {
    const std::vector<std::uint32_t> its = neighbours(members, other);
    EXPECT_EQ(std::count(its.begin(), its.end(), rank), 1) << rank << " " << other;
  }
}

TEST(Tree, NeighboursAreMutualFewAndJoinAll) {
  for (const std::uint32_t size : {1u, 2u, 3u, 8u, 33u, 600u}) {
    for (const std::uint32_t per_host : {1u, 4u, 5000u}) {
      const std::vector<Member> members = members_on_hosts(size, per_host);
      for (std::uint32_t rank = 0; rank < size; ++rank) expect_neighbours_fit(members, rank);
    }
  }
}

TEST(Tree, BridgesJoinTheLivingWhoeverIsGone) {
  std::uint32_t random = 7;
  for (int round = 0; round < 500; ++round) {
    const std::uint32_t size = 1 + round % 40;
    std::set<std::uint32_t> dead;
    for (std::uint32_t rank = 0; rank < size; ++rank) {
      random = random * 1664525 + 1013904223;
      if (random >> 31 != 0) dead.insert(rank);
    }
    const auto gone = [&](std::uint32_t rank) { return dead.contains(rank); };
    std::set<std::uint32_t> reached;
    std::vector<std::uint32_t> open;
    for (std::uint32_t rank = 0; rank < size && open.empty(); ++rank) {
      if (!gone(rank)) open.push_back(rank);
    }
    while (!open.empty()) {
      const std::uint32_t rank = open.back();
      open.pop_back();
      if (!reached.insert(rank).second) continue;
      for (const std::uint32_t other : bridges(size, rank, gone)) {
        EXPECT_FALSE(gone(other));
        EXPECT_NE(other, rank);
        open.push_back(other);
      }
    }
    EXPECT_EQ(reached.size(), size - dead.size());
  }
}

Request request_of(std::uint32_t rank, std::uint32_t size) {
  Request request;
  request.contact.member.rank = Rank{rank};
  request.contact.member.host = "host";
  request.contact.address = resolve({"192.0.2.1", static_cast<std::uint16_t>(1 + rank)}, "test");
  request.contact.data_address = resolve({"198.51.100.1", 7}, "test");
  request.contact.unix_name = "name";
  request.size = size;
  request.version = "1";
  request.settings = rank == 0 ? "settings" : "";
  return request;
}

TEST(Rosters, Of4096RanksGiveATableThatComesBack) {
  constexpr std::uint32_t size = 4096;
  Roster roster;
  for (std::uint32_t i = 0; i < size; ++i) {
    EXPECT_FALSE(roster.complete());
    const std::uint32_t rank = i * 2049 % size;  // In no order.
    const std::optional<Request> request = decode_request(encode(request_of(rank, size)));
    ASSERT_TRUE(request.has_value());
    ASSERT_EQ(roster.add(*request), "");
  }
  ASSERT_TRUE(roster.complete());
  const std::optional<Table> table = decode_table(encode(roster.table()));
  ASSERT_TRUE(table.has_value());
  EXPECT_EQ(table->settings, "settings");
  EXPECT_EQ(table->contacts[4095].member.address, "192.0.2.1:4096");
  EXPECT_EQ(table->contacts[4095].data_address.text(), "198.51.100.1:7");
}

TEST(Rosters, SayWhoIsMissing) {
  Roster roster;
  EXPECT_EQ(roster.add(request_of(1, 20)), "");
  EXPECT_TRUE(roster.missing_sentence(Milliseconds(5))
                  .starts_with("ranks 0, 2, 3, 4, 5, 6, 7, 8 and 11 more of 20 did not come within "
                               "5 ms (19 missing); "))
      << roster.missing_sentence(Milliseconds(5));
  EXPECT_NE(roster.add(request_of(20, 20)), "");
}

TEST(Sentences, NumberRanksInTheCommunicator) {
  std::vector<Member> members = members_on_hosts(6, 6);
  for (Member& member : members) {
    member.host = "a";
    member.pid = static_cast<std::int32_t>(100 + index(member.rank));
  }
  const Verdict verdict{
      ErrorKind::remote, {{2, Gone::died}, {4, Gone::silent}, {5, Gone::died}}, 0, ""};
  const std::vector<std::uint32_t> ranks{5, 1, 2, 4};
  EXPECT_EQ(process_sentence(verdict, ranks, members),
            "rank 2 (host a, pid 102) and rank 0 (world rank 5, host a, pid 105) died, and rank 3 "
            "(world rank 4, host a, pid 104) does not answer: stopped or cut off");
  EXPECT_EQ(process_sentence(verdict, std::vector<std::uint32_t>{0, 1}, members), "");
}

}  // namespace
}  // namespace accl::bootstrap
