// Sockets between ranks, in every order, over both kinds of road.

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <random>

#include "accl/base/error.h"
#include "accl/bootstrap/watch.h"
#include "tests/bootstrap/crew.h"

namespace accl::test {
namespace {

int family_of(const Fd& socket) {
  sockaddr_storage address{};
  socklen_t bytes = sizeof address;
  getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &bytes);
  return address.ss_family;
}

// Tells every peer who we are and on what topic; empty if every peer says what it should.
std::string greet_all(std::span<const Fd> sockets, std::span<const Rank> peers, std::uint32_t self,
                      std::uint32_t topic) {
  for (const Fd& socket : sockets) {
    const std::uint32_t words[2] = {self, topic};
    if (write(socket.get(), words, sizeof words) != sizeof words) return "cannot write";
  }
  for (std::size_t i = 0; i < peers.size(); ++i) {
    std::uint32_t words[2] = {};
    if (recv(sockets[i].get(), words, sizeof words, MSG_WAITALL) != sizeof words) {
      return "cannot read";
    }
    if (words[0] != index(peers[i]) || words[1] != topic) return "met somebody else";
  }
  return "";
}

std::vector<Rank> all_but(std::uint32_t self, std::uint32_t size) {
  std::vector<Rank> peers;
  for (std::uint32_t rank = 0; rank < size; ++rank) {
    if (rank != self) peers.push_back(Rank{rank});
  }
  return peers;
}

TEST(Meet, AllPairsInAnyOrderOnManyTopics) {
  constexpr std::uint32_t size = 7;
  const UniqueId id = fresh_id();
  Crew crew(size, [&](Stage& stage) -> std::string {
    const auto session = Session::join(options_for(id, stage.rank(), size));
    std::mt19937 random(stage.rank());
    for (std::uint32_t topic = 1; topic <= 20; ++topic) {
      std::vector<Rank> peers = all_but(stage.rank(), size);
      std::shuffle(peers.begin(), peers.end(), random);
      const auto sockets = session->meet(peers, topic, Deadline(Milliseconds(10000)));
      const std::string problem = greet_all(sockets, peers, stage.rank(), topic);
      if (!problem.empty()) return problem;
    }
    return "fine";
  });
  for (const std::string& line : crew.hear_all()) EXPECT_EQ(line, "fine");
}

TEST(Meet, ARingOf16AndTheSamePeerTwice) {
  constexpr std::uint32_t size = 16;
  const UniqueId id = fresh_id();
  Crew crew(size, [&](Stage& stage) -> std::string {
    const auto session = Session::join(options_for(id, stage.rank(), size));
    const Rank next{(stage.rank() + 1) % size};
    const Rank previous{(stage.rank() + size - 1) % size};
    const std::vector<Rank> ring{next, previous};
    const auto sockets = session->meet(ring, 5, Deadline(Milliseconds(10000)));
    std::string problem = greet_all(sockets, ring, stage.rank(), 5);
    if (!problem.empty()) return problem;
    // One after the other: in a ring no order of these may deadlock either.
    const std::vector<Rank> partner{Rank{stage.rank() ^ 1}};
    const std::vector<Rank> twice{partner[0], partner[0]};
    const auto both = session->meet(twice, 6, Deadline(Milliseconds(10000)));
    problem = greet_all(both, twice, stage.rank(), 6);
    return problem.empty() ? "fine" : problem;
  });
  for (const std::string& line : crew.hear_all()) EXPECT_EQ(line, "fine");
}

// Ranks 0 and 1 on one host, 2 and 3 on another.
std::string check_roads(Stage& stage, const UniqueId& id, int between) {
  const bool left = stage.rank() < 2;
  setenv("ACCL_HOST_ID", left ? "left" : "right", 1);
  const auto session = Session::join(options_for(id, stage.rank(), 4));
  const std::vector<Rank> peers = all_but(stage.rank(), 4);
  const auto sockets = session->meet(peers, 1, Deadline(Milliseconds(10000)));
  const auto members = session->members();
  for (std::size_t i = 0; i < peers.size(); ++i) {
    const bool near = (index(peers[i]) < 2) == left;
    const bool same = members[index(peers[i])].host_id == members[stage.rank()].host_id;
    if (near != same) return "wrong host id";
    if (family_of(sockets[i]) != (near ? AF_UNIX : between)) return "wrong road";
  }
  return greet_all(sockets, peers, stage.rank(), 1) + ".";
}

TEST(Meet, TheRoadIsUnixInsideAHostAndTcpBetweenHosts) {
  for (const std::string root : {"127.0.0.1", "[::1]"}) {
    const UniqueId id = fresh_id(root);
    const int between = root == "[::1]" ? AF_INET6 : AF_INET;
    Crew crew(4, [&](Stage& stage) { return check_roads(stage, id, between); });
    for (const std::string& line : crew.hear_all()) EXPECT_EQ(line, ".");
  }
}

TEST(Meet, WhoDoesNotComeIsNamedByBothSides) {
  const UniqueId id = fresh_id();
  Crew crew(3, [&](Stage& stage) -> std::string {
    const auto session = Session::join(options_for(id, stage.rank(), 3));
    const std::vector<Rank> absent{Rank{1}};
    std::string text;
    try {
      if (stage.rank() != 1) session->meet(absent, 1, Deadline(Milliseconds(500)));
    } catch (const Error& error) {
      text = text_of(error);
    }
    stage.say(text);
    return stage.hear();
  });
  const std::string expected = fmt::format(
      "error: 5: rank 1 (host {}, pid {}) did not come to meet rank ",
      [] {
        char name[256] = "";
        gethostname(name, sizeof name);
        return std::string(name);
      }(),
      crew.pid(1));
  EXPECT_TRUE(crew.hear(0).starts_with(expected + "0"));
  EXPECT_TRUE(crew.hear(2).starts_with(expected + "2"));
}

TEST(Meet, ALateMeetingIsNotSpoiltByAnEarlierOneThatFailed) {
  const UniqueId id = fresh_id();
  Crew crew(2, [&](Stage& stage) -> std::string {
    const auto session = Session::join(options_for(id, stage.rank(), 2));
    const std::vector<Rank> peer{Rank{1 - stage.rank()}};
    if (stage.rank() == 1) {
      EXPECT_THROW(session->meet(peer, 1, Deadline(Milliseconds(200))), Error);
      stage.say("gave up");
    }
    stage.hear();
    const auto sockets = session->meet(peer, 1, Deadline(Milliseconds(10000)));
    return greet_all(sockets, peer, stage.rank(), 1) + ".";
  });
  EXPECT_EQ(crew.hear(1), "gave up");
  crew.tell_all("again");
  for (const std::string& line : crew.hear_all()) EXPECT_EQ(line, ".");
}

TEST(Meet, TheDeathOfAPeerEndsTheWait) {
  const UniqueId id = fresh_id();
  Crew crew(4, [&](Stage& stage) -> std::string {
    const auto session = Session::join(options_for(id, stage.rank(), 4));
    stage.say("in");
    if (stage.rank() == 2) return stage.hear();
    const std::vector<Rank> peer{Rank{2}};
    static_cast<void>(session->meet(peer, 1, Deadline(Milliseconds(20000))));
    return "met a dead rank";
  });
  static_cast<void>(crew.hear_all());
  usleep(100'000);
  crew.signal(2, SIGKILL);
  for (const std::uint32_t rank : {0u, 1u, 3u}) {
    const std::string line = crew.hear(rank, 5000);
    EXPECT_TRUE(line.starts_with("error: 4: rank 2 (host ")) << line;
    EXPECT_TRUE(line.ends_with(fmt::format("pid {}) died", crew.pid(2)))) << line;
  }
}

TEST(Meet, APeerThatLeavesEndsTheWait) {
  const UniqueId id = fresh_id();
  Crew crew(2, [&](Stage& stage) -> std::string {
    auto session = Session::join(options_for(id, stage.rank(), 2));
    if (stage.rank() == 1) {
      session.reset();
      return stage.hear();
    }
    const std::vector<Rank> peer{Rank{1}};
    static_cast<void>(session->meet(peer, 1, Deadline(Milliseconds(20000))));
    return "met a rank that left";
  });
  const std::string line = crew.hear(0, 5000);
  EXPECT_TRUE(line.ends_with("left the job")) << line;
}

}  // namespace
}  // namespace accl::test
