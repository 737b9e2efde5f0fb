// Who is to blame: ranks die, stop, leave, disagree or stay away, and every other rank names them.

#include "accl/bootstrap/watch.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <numeric>

#include "accl/base/error.h"
#include "accl/base/types.h"
#include "tests/bootstrap/crew.h"

namespace accl::test {
namespace {

constexpr int verdict_ms = 5000;  // A verdict is due in one second; machines can be busy.
constexpr std::uint64_t topic = 77;

std::vector<Rank> all_ranks(std::uint32_t size) {
  std::vector<Rank> ranks;
  for (std::uint32_t rank = 0; rank < size; ++rank) ranks.push_back(Rank{rank});
  return ranks;
}

// "KIND: TEXT" of the verdict, once there is one.
std::string await_verdict(const Watch& watch, int timeout_ms = 15000) {
  pollfd wait{watch.event_fd(), POLLIN, 0};
  if (poll(&wait, 1, timeout_ms) != 1) return "no verdict";
  if (!watch.failed()) return "an event without a failure";
  const Error verdict = watch.verdict();
  return fmt::format("{}: {}", static_cast<int>(verdict.kind()), verdict.what());
}

// What a rank does with its session and its watch before it waits for the verdict.
using Play = std::function<void(Stage& stage, Session& session, Watch& watch)>;

Crew::Body watching(const UniqueId& id, std::uint32_t size, const Play& play) {
  return [=](Stage& stage) {
    const auto session = Session::join(options_for(id, stage.rank(), size));
    const auto watch = session->watch(topic, all_ranks(size));
    stage.say("watching");
    stage.hear();
    play(stage, *session, *watch);
    const std::string verdict = await_verdict(*watch);
    stage.say(verdict);
    stage.hear();  // Stay until all have their verdict.
    return std::string("done");
  };
}

void enter_call(Watch& watch, std::uint64_t call, std::uint64_t count, int waiting_for) {
  CallBoard& board = watch.board();
  board.collective = static_cast<std::uint32_t>(Collective::allreduce);
  board.type = static_cast<std::uint32_t>(DataType::float32);
  board.op = static_cast<std::uint32_t>(ReduceOp::sum);
  board.count = count;
  board.waiting_for = waiting_for;
  board.finished = call - 1;
  board.call.store(call, std::memory_order_release);
}

void expect_all(Crew& crew, const std::vector<std::uint32_t>& except, const std::string& begin,
                const std::string& end) {
  const Deadline deadline{Milliseconds(verdict_ms)};
  std::string first;
  for (std::uint32_t rank = 0; rank < crew.size(); ++rank) {
    if (std::find(except.begin(), except.end(), rank) != except.end()) continue;
    const std::string line = crew.hear(rank, deadline.left_ms());
    if (first.empty()) first = line;
    EXPECT_EQ(line, first) << "rank " << rank;
    EXPECT_TRUE(line.starts_with(begin)) << "rank " << rank << ": " << line;
    EXPECT_TRUE(line.ends_with(end)) << "rank " << rank << ": " << line;
  }
}

class Killed : public testing::TestWithParam<std::uint32_t> {};

TEST_P(Killed, IsNamedByAll) {
  constexpr std::uint32_t size = 7;
  const std::uint32_t victim = GetParam();
  Crew crew(size, watching(fresh_id(), size, [](Stage&, Session&, Watch&) {}));
  static_cast<void>(crew.hear_all());
  crew.tell_all("go");
  crew.signal(victim, SIGKILL);
  expect_all(crew, {victim}, fmt::format("4: rank {} (host ", victim),
             fmt::format(", pid {}) died", crew.pid(victim)));
}

INSTANTIATE_TEST_SUITE_P(Ranks, Killed, testing::Range(0u, 7u));

TEST(Deaths, OverTcpOfARankWithChildren) {
  constexpr std::uint32_t size = 7;
  const UniqueId id = fresh_id();
  Crew crew(size, [&](Stage& stage) {
    setenv("ACCL_HOST_ID", fmt::format("host {}", stage.rank()).c_str(), 1);
    return watching(id, size, [](Stage&, Session&, Watch&) {})(stage);
  });
  static_cast<void>(crew.hear_all());
  crew.tell_all("go");
  crew.signal(1, SIGKILL);
  expect_all(crew, {1}, "4: rank 1 (host ", fmt::format(", pid {}) died", crew.pid(1)));
}

TEST(Deaths, AreSeenWhereAForkedChildKeepsTheSocketsOpen) {
  constexpr std::uint32_t size = 5;
  Crew crew(size, watching(fresh_id(), size, [](Stage& stage, Session&, Watch&) {
              if (stage.rank() != 3) return;
              const pid_t loader = fork();
              if (loader == 0) {
                pause();
                _exit(0);
              }
              stage.say(fmt::format("{}", loader));
            }));
  static_cast<void>(crew.hear_all());
  crew.tell_all("go");
  const pid_t loader = std::stoi(crew.hear(3));
  crew.signal(3, SIGKILL);
  expect_all(crew, {3}, "4: rank 3 (host ", fmt::format(", pid {}) died", crew.pid(3)));
  EXPECT_EQ(kill(loader, SIGKILL), 0);
}

TEST(Deaths, OfTwoAtOnceAreToldAlikeOnAllRanks) {
  constexpr std::uint32_t size = 12;
  Crew crew(size, watching(fresh_id(), size, [](Stage&, Session&, Watch&) {}));
  static_cast<void>(crew.hear_all());
  crew.tell_all("go");
  crew.signal(0, SIGKILL);
  crew.signal(2, SIGKILL);
  expect_all(crew, {0, 2}, "4: rank ", " died");
}

TEST(Deaths, ReachAWatchThatBeginsLater) {
  const UniqueId id = fresh_id();
  Crew crew(4, [&](Stage& stage) {
    const auto session = Session::join(options_for(id, stage.rank(), 4));
    const auto first = session->watch(1, all_ranks(4));
    stage.say("watching");
    stage.say(await_verdict(*first));
    const std::vector<Rank> with{Rank{0}, Rank{3}, Rank{1}};
    const std::vector<Rank> without{Rank{0}, Rank{1}, Rank{2}};
    const auto second = session->watch(2, with);
    const auto third = session->watch(3, without);
    stage.say(await_verdict(*second));
    stage.say(await_verdict(*third, 50));
    return stage.hear();
  });
  static_cast<void>(crew.hear_all());
  crew.signal(3, SIGKILL);
  for (std::uint32_t rank = 0; rank < 3; ++rank) {
    EXPECT_TRUE(crew.hear(rank, verdict_ms).starts_with("4: rank 3 (host "));
    const std::string renumbered = crew.hear(rank, verdict_ms);
    EXPECT_TRUE(renumbered.starts_with("4: rank 1 (world rank 3, host ")) << renumbered;
    EXPECT_EQ(crew.hear(rank, verdict_ms), "no verdict");
  }
}

class Stopped : public testing::TestWithParam<std::uint32_t> {};

void expect_stopped_is_named(std::uint32_t size, std::uint32_t victim) {
  const std::uint32_t teller = (victim + 3) % size;  // Not always a neighbour of the victim.
  Crew crew(size, watching(fresh_id(), size, [=](Stage& stage, Session&, Watch& watch) {
              enter_call(watch, 4, 100, static_cast<int>(victim));
              if (stage.rank() == teller) {
                stage.say("ready");
                stage.hear();
                watch.report_timeout(Rank{(teller + 1) % size});
              }
            }));
  static_cast<void>(crew.hear_all());
  crew.tell_all("go");
  EXPECT_EQ(crew.hear(teller), "ready");
  crew.stop(victim);
  crew.tell(teller, "complain");
  const std::string end =
      fmt::format("pid {}) does not answer: stopped or cut off", crew.pid(victim));
  expect_all(crew, {victim}, fmt::format("4: rank {} (host ", victim), end);
  crew.signal(victim, SIGCONT);  // Late, but it is told as well.
  EXPECT_TRUE(crew.hear(victim, verdict_ms).ends_with(end));
}

TEST_P(Stopped, IsNamedByAllOnceARankComplains) { expect_stopped_is_named(7, GetParam()); }

// Below the stopped one is a rank that only the ring joins to the others.
TEST_P(Stopped, IsNamedByAllOfFewRanks) {
  if (GetParam() < 4) expect_stopped_is_named(4, GetParam());
}

INSTANTIATE_TEST_SUITE_P(Ranks, Stopped, testing::Values(0u, 1u, 2u, 6u));

TEST(Complaints, AllAtOnceGiveOneVerdict) {
  constexpr std::uint32_t size = 8;
  Crew crew(size, watching(fresh_id(), size, [](Stage& stage, Session&, Watch& watch) {
              const bool absent = stage.rank() == 5;
              if (!absent) enter_call(watch, 12, 100, 5);
              stage.say("in");
              stage.hear();
              if (!absent) watch.report_timeout(Rank{5});
            }));
  static_cast<void>(crew.hear_all());
  crew.tell_all("go");
  static_cast<void>(crew.hear_all());
  crew.tell_all("complain");
  expect_all(crew, {}, "5: rank 5 (host ", "it has made no call yet");
}

TEST(Complaints, ThoseWhoDifferAreNamed) {
  constexpr std::uint32_t size = 4;
  Crew crew(size, watching(fresh_id(), size, [](Stage& stage, Session&, Watch& watch) {
              enter_call(watch, 3, stage.rank() == 3 ? 100 : 200, -1);
              stage.say("in");
              stage.hear();
              if (stage.rank() == 1) watch.report_mismatch(Rank{3});
            }));
  static_cast<void>(crew.hear_all());
  crew.tell_all("go");
  static_cast<void>(crew.hear_all());
  crew.tell_all("go on");
  expect_all(crew, {}, "2: in call 3 rank 3 (host ",
             "calls allreduce of 100 float while ranks 0, 1, 2 call allreduce of 200 float");
}

TEST(Complaints, ABrokenConnectionIsToldWithItsReason) {
  constexpr std::uint32_t size = 3;
  Crew crew(size, watching(fresh_id(), size, [](Stage& stage, Session&, Watch& watch) {
              enter_call(watch, 1, 10, -1);
              if (stage.rank() == 2) watch.report_broken(Rank{0}, "the cable is out");
            }));
  static_cast<void>(crew.hear_all());
  crew.tell_all("go");
  expect_all(crew, {}, "4: the connection between rank 2 (host ", ") broke: the cable is out");
}

TEST(Complaints, ABrokenConnectionToADeadRankIsItsDeath) {
  constexpr std::uint32_t size = 4;
  Crew crew(size, watching(fresh_id(), size, [](Stage& stage, Session&, Watch& watch) {
              stage.say("in");
              if (stage.rank() == 2) return;
              stage.hear();
              watch.report_broken(Rank{2}, "reset by peer");
            }));
  static_cast<void>(crew.hear_all());
  crew.tell_all("go");
  static_cast<void>(crew.hear_all());
  crew.signal(2, SIGKILL);
  crew.tell_all("complain");
  expect_all(crew, {2}, "4: rank 2 (host ", ") died");
}

TEST(Complaints, ARankThatLeftIsNamedByThoseWhoWaitForIt) {
  constexpr std::uint32_t size = 5;
  const UniqueId id = fresh_id();
  Crew crew(size, [&](Stage& stage) {
    auto session = Session::join(options_for(id, stage.rank(), size));
    auto watch = session->watch(topic, all_ranks(size));
    stage.say("in");
    stage.hear();
    if (stage.rank() == 3) {
      watch.reset();
      session.reset();
      stage.say("left");
      return stage.hear();
    }
    enter_call(*watch, 12, 100, stage.rank() < 2 ? 3 : -1);
    stage.say("in call");
    stage.hear();
    if (stage.rank() == 0) watch->report_timeout(Rank{3});
    stage.say(await_verdict(*watch));
    return stage.hear();
  });
  static_cast<void>(crew.hear_all());
  crew.tell_all("go");
  static_cast<void>(crew.hear_all());
  crew.tell_all("go on");
  expect_all(crew, {3}, "4: rank 3 (host ", "left while ranks 0, 1 wait for it in call 12");
}

TEST(Complaints, ConcernOneCommunicatorOnly) {
  const UniqueId id = fresh_id();
  Crew crew(4, [&](Stage& stage) {
    const auto session = Session::join(options_for(id, stage.rank(), 4));
    const std::uint32_t colour = stage.rank() % 2;
    const std::vector<Rank> half{Rank{colour}, Rank{colour + 2}};
    const auto own = session->watch(10 + colour, half);
    const auto world = session->watch(topic, all_ranks(4));
    stage.say("in");
    stage.hear();
    if (stage.rank() == 3) own->abort();
    stage.say(await_verdict(*own, colour == 1 ? 15000 : 700));
    stage.say(await_verdict(*world, 50));
    return stage.hear();
  });
  static_cast<void>(crew.hear_all());
  crew.tell_all("go");
  for (std::uint32_t rank = 0; rank < 4; ++rank) {
    const std::string own = crew.hear(rank, verdict_ms);
    if (rank % 2 == 0) {
      EXPECT_EQ(own, "no verdict");
    } else {
      EXPECT_TRUE(own.starts_with("6: rank 1 (world rank 3, host ")) << own;
      EXPECT_TRUE(own.ends_with("called abort")) << own;
    }
    EXPECT_EQ(crew.hear(rank, verdict_ms), "no verdict");
  }
}

TEST(Aborts, FromAllRanksAtOnceGiveOneVerdict) {
  constexpr std::uint32_t size = 6;
  Crew crew(size,
            watching(fresh_id(), size, [](Stage&, Session&, Watch& watch) { watch.abort(); }));
  static_cast<void>(crew.hear_all());
  crew.tell_all("go");
  expect_all(crew, {}, "6: rank ", " called abort");
}

TEST(Aborts, AndBlameWorkForASingleRank) {
  const auto session = Session::join(options_for(UniqueId{}, 0, 1));
  EXPECT_EQ(session->members().size(), 1u);
  EXPECT_EQ(session->settings(), "settings of rank 0");
  EXPECT_TRUE(session->meet({}, 1, Deadline(Milliseconds(10))).empty());
  const auto late = session->watch(1, all_ranks(1));
  late->report_timeout(Rank{0});
  EXPECT_TRUE(await_verdict(*late).starts_with("5: "));
  const auto watch = session->watch(2, all_ranks(1));
  EXPECT_FALSE(watch->failed());
  watch->abort();
  EXPECT_TRUE(await_verdict(*watch).ends_with("called abort"));
}

TEST(Goodbyes, InAnyOrderAreNoDeaths) {
  constexpr std::uint32_t size = 9;
  const UniqueId id = fresh_id();
  Crew crew(size, [&](Stage& stage) {
    auto session = Session::join(options_for(id, stage.rank(), size));
    auto watch = session->watch(topic, all_ranks(size));
    stage.hear();
    // The session lives in its watch, or the watch goes first.
    if (stage.rank() % 2 == 0) session.reset();
    const bool failed = watch->failed();
    watch.reset();
    return std::string(failed ? "failed" : "fine");
  });
  for (const std::uint32_t rank : {4u, 0u, 8u, 1u, 2u, 7u, 3u}) {
    crew.tell(rank, "end");
    EXPECT_EQ(crew.hear(rank), "fine");
  }
  usleep(200'000);
  crew.tell_all("end");
  EXPECT_EQ(crew.hear(5), "fine");
  EXPECT_EQ(crew.hear(6), "fine");
}

TEST(Goodbyes, ADeathAfterDeparturesIsStillTold) {
  constexpr std::uint32_t size = 15;
  const UniqueId id = fresh_id();
  Crew crew(size, [&](Stage& stage) {
    auto session = Session::join(options_for(id, stage.rank(), size));
    stage.say("in");
    const std::vector<Rank> rest{Rank{9}, Rank{11}, Rank{14}, Rank{6}};
    const bool stays = std::find(rest.begin(), rest.end(), Rank{stage.rank()}) != rest.end();
    stage.hear();
    if (!stays) {
      session.reset();
      stage.say("left");
      return stage.hear();
    }
    const auto watch = session->watch(topic, rest);
    stage.say("watching");
    stage.say(await_verdict(*watch));
    return stage.hear();
  });
  static_cast<void>(crew.hear_all());
  crew.tell_all("go");
  static_cast<void>(crew.hear_all());
  crew.signal(14, SIGKILL);
  for (const std::uint32_t rank : {6u, 9u, 11u}) {
    const std::string line = crew.hear(rank, verdict_ms);
    EXPECT_TRUE(line.starts_with("4: rank 2 (world rank 14, host ")) << line;
    EXPECT_TRUE(line.ends_with(") died")) << line;
  }
}

TEST(Goodbyes, AForkedChildThatEndsSaysNoneForItsParent) {
  constexpr std::uint32_t size = 3;
  Crew crew(size, [&, id = fresh_id()](Stage& stage) {
    auto session = Session::join(options_for(id, stage.rank(), size));
    auto watch = session->watch(topic, all_ranks(size));
    const pid_t child = fork();
    if (child == 0) {
      watch.reset();
      session.reset();  // Its copy of the session, in a process without its thread.
      _exit(0);
    }
    int status = -1;
    waitpid(child, &status, 0);
    stage.say(fmt::format("{}", status));
    stage.hear();
    if (stage.rank() == 1) watch->abort();  // All links still stand.
    stage.say(await_verdict(*watch));
    return stage.hear();
  });
  for (const std::string& line : crew.hear_all()) EXPECT_EQ(line, "0");
  crew.tell_all("go");
  expect_all(crew, {}, "6: rank 1 (host ", " called abort");
}

}  // namespace
}  // namespace accl::test
