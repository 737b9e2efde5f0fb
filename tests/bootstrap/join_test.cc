// How ranks find each other, and what those get who do not fit.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>

#include "accl/base/error.h"
#include "accl/bootstrap/address.h"
#include "accl/bootstrap/root.h"
#include "accl/bootstrap/watch.h"
#include "accl/bootstrap/wire.h"
#include "tests/bootstrap/crew.h"

namespace accl::test {
namespace {

std::string join_and_describe(const JoinOptions& options) {
  const auto session = Session::join(options);
  std::string text = fmt::format("{}/{}:{}", index(session->self()), session->members().size(),
                                 session->settings());
  for (const Member& member : session->members()) text += fmt::format(" {}", member.pid);
  return text;
}

std::string expected(const Crew& crew, std::uint32_t rank) {
  std::string text = fmt::format("{}/{}:settings of rank 0", rank, crew.size());
  for (std::uint32_t other = 0; other < crew.size(); ++other) {
    text += fmt::format(" {}", crew.pid(other));
  }
  return text;
}

// A process that makes ids and stays, so that this one never has threads when it forks.
class IdMaker {
 public:
  explicit IdMaker(int ids)
      : crew_(1, [ids](Stage& stage) {
          for (int i = 0; i < ids; ++i) {
            std::string text;
            for (const char byte : make_unique_id().bytes) {
              text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
            }
            stage.say(text);
          }
          return stage.hear();
        }) {}

  UniqueId next() {
    const std::string text = crew_.hear(0);
    UniqueId id;
    for (std::size_t i = 0; i < id.bytes.size(); ++i) {
      id.bytes[i] = static_cast<char>(std::stoi(text.substr(2 * i, 2), nullptr, 16));
    }
    return id;
  }

 private:
  Crew crew_;
};

class Join : public testing::TestWithParam<std::uint32_t> {};

TEST_P(Join, EveryRankKnowsAll) {
  const std::uint32_t size = GetParam();
  const UniqueId id = fresh_id();
  Crew crew(size,
            [&](Stage& stage) { return join_and_describe(options_for(id, stage.rank(), size)); });
  const std::vector<std::string> lines = crew.hear_all();
  for (std::uint32_t rank = 0; rank < size; ++rank) EXPECT_EQ(lines[rank], expected(crew, rank));
}

INSTANTIATE_TEST_SUITE_P(Sizes, Join, testing::Values(1u, 2u, 7u, 32u));

TEST(JoinIds, SeveralMadeIdsServeSeveralJobsAtOnce) {
  IdMaker maker(2);
  const UniqueId ids[2] = {maker.next(), maker.next()};
  EXPECT_NE(ids[0].bytes, ids[1].bytes);
  Crew crew(6, [&](Stage& stage) {
    const auto session = Session::join(options_for(ids[stage.rank() % 2], stage.rank() / 2, 3));
    return fmt::format("{} {} {}", session->members()[0].pid, session->members()[1].pid,
                       session->members()[2].pid);
  });
  const std::vector<std::string> lines = crew.hear_all();
  for (std::uint32_t i = 0; i < 6; ++i) {
    const std::uint32_t job = i % 2;
    EXPECT_EQ(lines[i],
              fmt::format("{} {} {}", crew.pid(job), crew.pid(job + 2), crew.pid(job + 4)));
  }
}

TEST(JoinIds, OneAddressServesOneJobAfterAnother) {
  const std::string root = fmt::format("127.0.0.1:{}", free_port());
  Crew crew(3, [&](Stage& stage) {
    std::string text;
    for (int round = 0; round < 5; ++round) {
      const auto session =
          Session::join(options_for(unique_id_of(root, "same job"), stage.rank(), 3));
      text += fmt::format("{}", session->members().size());
    }
    return text;
  });
  for (const std::string& line : crew.hear_all()) EXPECT_EQ(line, "33333");
}

TEST(JoinIds, NamesAndIpv6LeadToTheRootToo) {
  for (const std::string host : {"localhost", "[::1]"}) {
    const UniqueId id = fresh_id(host);
    Crew crew(3, [&](Stage& stage) {
      setenv("ACCL_HOST_ID", fmt::format("host {}", stage.rank()).c_str(), 1);
      const auto session = Session::join(options_for(id, stage.rank(), 3));
      return session->members()[2].address;
    });
    for (const std::string& line : crew.hear_all()) {
      const bool v6 = line.starts_with("[::1]:");
      EXPECT_TRUE(v6 || (host == "localhost" && line.starts_with("127."))) << line;
    }
  }
}

TEST(JoinIds, WhatIsNoIdOrNoAddressIsSaid) {
  EXPECT_THROW(static_cast<void>(Session::join(options_for(UniqueId{}, 1, 2))), Error);
  for (const std::string root : {"nonsense", "host:0", "host:99999", "::1:80", "host:1x", ":5"}) {
    try {
      static_cast<void>(unique_id_of(root, ""));
      ADD_FAILURE() << root;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
      EXPECT_NE(std::string(error.what()).find(root), std::string::npos) << error.what();
    }
  }
}

TEST(JoinErrors, MissingRanksAreNamed) {
  const UniqueId id = fresh_id();
  Crew crew(3,
            [&](Stage& stage) { return join_and_describe(options_for(id, stage.rank(), 5, 700)); });
  for (const std::string& line : crew.hear_all()) {
    EXPECT_TRUE(line.starts_with("error: 5: ranks 3, 4 of 5 did not come within ")) << line;
  }
}

TEST(JoinErrors, ARankThatCameTwiceIsNamed) {
  const UniqueId id = fresh_id();
  Crew crew(3, [&](Stage& stage) {
    return join_and_describe(options_for(id, stage.rank() == 2 ? 1 : stage.rank(), 3));
  });
  const std::vector<std::string> lines = crew.hear_all();
  EXPECT_TRUE(lines[0].starts_with("error: 2: rank 1 came twice: from host ")) << lines[0];
  EXPECT_NE(lines[0].find(fmt::format("pid {}", crew.pid(1))), std::string::npos) << lines[0];
  EXPECT_NE(lines[0].find(fmt::format("pid {}", crew.pid(2))), std::string::npos) << lines[0];
  EXPECT_EQ(lines[1], lines[0]);
  EXPECT_EQ(lines[2], lines[0]);
}

TEST(JoinErrors, AnotherSizeOrVersionIsNamedToAll) {
  for (const bool size_differs : {true, false}) {
    const UniqueId id = fresh_id();
    Crew crew(3, [&](Stage& stage) {
      const bool odd = stage.rank() == 2;
      JoinOptions options = options_for(id, stage.rank(), odd && size_differs ? 4 : 3);
      if (odd && !size_differs) options.version = "2.0";
      // A moment later: so that it is known who the odd one is, and one rank comes later still.
      usleep(odd ? 200'000 : stage.rank() == 1 ? 400'000 : 0);
      return join_and_describe(options);
    });
    const std::vector<std::string> lines = crew.hear_all();
    const std::string difference =
        size_differs ? "was started for 4 ranks, but" : "has version 2.0";
    EXPECT_TRUE(lines[0].starts_with("error: 2: rank 2 (host ")) << lines[0];
    EXPECT_NE(lines[0].find(difference), std::string::npos) << lines[0];
    EXPECT_NE(lines[0].find("rank 0 (host "), std::string::npos) << lines[0];
    EXPECT_EQ(lines[1], lines[0]);
    EXPECT_EQ(lines[2], lines[0]);
  }
}

TEST(JoinErrors, ARankThatDiesWhileOthersJoinIsNamedAtOnce) {
  const UniqueId id = fresh_id();
  Crew crew(3, [&](Stage& stage) {
    if (stage.rank() == 2) return stage.hear();
    stage.say("joining");
    return join_and_describe(options_for(id, stage.rank(), 3));
  });
  EXPECT_EQ(crew.hear(0), "joining");
  EXPECT_EQ(crew.hear(1), "joining");
  usleep(300'000);
  crew.signal(1, SIGKILL);
  const std::string line = crew.hear(0, 5000);  // Far below the time-out of 20 s.
  EXPECT_TRUE(line.starts_with("error: 4: rank 1 (host ")) << line;
  EXPECT_NE(line.find("died while the ranks were joining"), std::string::npos) << line;
}

TEST(JoinErrors, TheRootsEndIsSaidAtOnce) {
  const UniqueId id = fresh_id();
  Crew crew(2, [&](Stage& stage) {
    stage.say("joining");
    return join_and_describe(options_for(id, stage.rank(), 3));
  });
  EXPECT_EQ(crew.hear(0), "joining");
  usleep(300'000);
  crew.signal(0, SIGKILL);
  EXPECT_EQ(crew.hear(1), "joining");
  const std::string line = crew.hear(1, 5000);
  EXPECT_TRUE(line.starts_with("error: 4: the root at 127.0.0.1:")) << line;
}

TEST(JoinErrors, NobodyAtTheAddressIsSaidInTime) {
  const UniqueId id = fresh_id();
  try {
    static_cast<void>(Session::join(options_for(id, 1, 2, 300)));
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("cannot reach the root at 127.0.0.1:"),
              std::string::npos)
        << error.what();
  }
}

// Sends bytes to the root and keeps the connection open.
Fd stranger(const bootstrap::Address& root, const std::string& bytes) {
  Fd socket(::socket(root.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(connect(socket.get(), root.get(), root.bytes()), 0);
  EXPECT_EQ(send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(bytes.size()));
  return socket;
}

bool is_closed(const Fd& socket) {
  timeval patience{3, 0};
  setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  char byte = 0;
  return recv(socket.get(), &byte, 1, 0) <= 0 && errno != EAGAIN;
}

TEST(JoinStrangers, AreTurnedAwayAndHoldUpNobody) {
  IdMaker maker(1);
  const UniqueId id = maker.next();
  const bootstrap::RootPlace place = bootstrap::read_unique_id(id);
  bootstrap::Preamble wrong{bootstrap::Purpose::join, 1, 0, place.secret};
  wrong.secret[31] ^= 1;
  std::vector<Fd> silent;
  for (int i = 0; i < 50; ++i) silent.push_back(stranger(place.address, ""));
  const Fd http = stranger(place.address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  const Fd garbage = stranger(place.address, std::string(300, '\xff'));
  const Fd thief = stranger(place.address, encode(wrong));
  const Fd slow = stranger(place.address, encode(wrong).substr(0, 20));
  Crew crew(2, [&](Stage& stage) {
    silent.clear();
    return join_and_describe(options_for(id, stage.rank(), 2, 4000));
  });
  const std::vector<std::string> lines = crew.hear_all();
  for (std::uint32_t rank = 0; rank < 2; ++rank) EXPECT_EQ(lines[rank], expected(crew, rank));
  EXPECT_TRUE(is_closed(http));
  EXPECT_TRUE(is_closed(garbage));
  EXPECT_TRUE(is_closed(thief));
  EXPECT_TRUE(is_closed(slow));
}

TEST(JoinStrangers, AreLoggedWithTheirAddress) {
  const std::string root = fmt::format("127.0.0.1:{}", free_port());
  const std::string log = testing::TempDir() + fmt::format("bootstrap-{}.log", getpid());
  Crew crew(2, [&](Stage& stage) -> std::string {
    const bool ours = stage.rank() == 0;
    if (ours && freopen(log.c_str(), "w", stderr) == nullptr) return "no file for the log";
    const UniqueId id = unique_id_of(root, ours ? "our job" : "their job");
    return join_and_describe(options_for(id, stage.rank(), 2, ours ? 700 : 600));
  });
  EXPECT_TRUE(crew.hear(0).starts_with("error: 5: rank 1 of 2 did not come"));
  EXPECT_NE(crew.hear(1).find("it serves another job"), std::string::npos);
  std::ifstream file(log);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  EXPECT_NE(text.find("turned away a connection from 127.0.0.1:"), std::string::npos) << text;
  EXPECT_NE(text.find("it does not know the secret"), std::string::npos) << text;
  unlink(log.c_str());
}

TEST(JoinResources, NothingIsLeftOpen) {
  const UniqueId id = fresh_id();
  Crew crew(3, [&](Stage& stage) {
    // The first session warms up what the C library keeps open.
    for (int round = 0; round < 2; ++round) {
      static_cast<void>(Session::join(options_for(id, stage.rank(), 3)));
      usleep(round * 100'000);  // The root's thread ends a moment after the last rank went on.
    }
    const std::size_t before = open_descriptors();
    for (int round = 0; round < 5; ++round) {
      const auto session = Session::join(options_for(id, stage.rank(), 3));
      const std::vector<Rank> all{Rank{0}, Rank{1}, Rank{2}};
      const auto watch = session->watch(1, all);
    }
    usleep(200'000);
    static_cast<void>(make_unique_id());  // Sweeps roots that have ended...
    const std::size_t with_root = open_descriptors();
    return fmt::format("{}", with_root <= before + 3 ? "fine" : "leak");  // ...and is one itself.
  });
  for (const std::string& line : crew.hear_all()) EXPECT_EQ(line, "fine");
}

}  // namespace
}  // namespace accl::test
