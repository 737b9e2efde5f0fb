// The judge, from tables of answers.

#include "accl/bootstrap/judge.h"

#include <gtest/gtest.h>

#include "accl/base/types.h"

namespace accl::bootstrap {
namespace {

Answer in_call(std::uint64_t call, int waiting_for, std::uint64_t count = 100) {
  Answer answer;
  answer.answered = true;
  answer.state.open = true;
  answer.state.call = call;
  answer.state.finished = call - 1;
  answer.state.collective = static_cast<std::uint32_t>(Collective::allreduce);
  answer.state.type = static_cast<std::uint32_t>(DataType::float32);
  answer.state.count = count;
  answer.state.waiting_for = waiting_for;
  return answer;
}

Answer finished(std::uint64_t call, std::uint64_t count = 100) {
  Answer answer = in_call(call, -1, count);
  answer.state.finished = call;
  return answer;
}

Answer gone(Gone how) {
  Answer answer;
  answer.gone = how;
  return answer;
}

Answer with_report(Answer answer, ReportKind kind, int peer, const std::string& reason = "") {
  answer.state.report = {kind, peer, reason};
  return answer;
}

Finding judge_named(std::vector<Answer> answers) {
  for (std::size_t i = 0; i < answers.size(); ++i)
    answers[i].name = "rank " + std::to_string(i) + " (x)";
  return judge(answers);
}

TEST(Judge, SilenceComesBeforeAllElse) {
  const Finding finding = judge_named({in_call(4, 1), Answer{}, in_call(4, 1, 7), Answer{}});
  EXPECT_EQ(finding.silent, (std::vector<std::uint32_t>{1, 3}));
}

TEST(Judge, TheMinorityDiffers) {
  const Finding finding = judge_named(
      {in_call(9, -1, 200), in_call(9, -1, 200), in_call(9, -1, 100), finished(9, 200)});
  EXPECT_EQ(finding.kind, ErrorKind::invalid_usage);
  EXPECT_EQ(finding.text,
            "in call 9 rank 2 (x) calls allreduce of 100 float while ranks 0, 1, 3 "
            "call allreduce of 200 float");
}

TEST(Judge, InATieBothAreNamed) {
  const Finding finding = judge_named({in_call(1, -1, 5), in_call(1, -1, 6)});
  EXPECT_EQ(finding.text,
            "in call 1 rank 1 (x) calls allreduce of 6 float while rank 0 (x) calls allreduce of 5 "
            "float");
}

TEST(Judge, WhatDiffersIsPrinted) {
  const auto differ = [](auto change) {
    std::vector<Answer> answers{in_call(2, -1), in_call(2, -1), in_call(2, -1)};
    change(answers[1].state);
    return judge_named(answers).text;
  };
  const auto op = [](RankState& state) { state.op = static_cast<std::uint32_t>(ReduceOp::max); };
  EXPECT_NE(differ(op).find("allreduce of 100 float with max while ranks 0, 2 call allreduce of "
                            "100 float with sum"),
            std::string::npos);
  EXPECT_NE(differ([](RankState& state) { state.root = 3; }).find("with root 3"),
            std::string::npos);
  EXPECT_NE(differ([](RankState& state) { state.algorithm = 4; }).find("by rd"), std::string::npos);
  const auto type = [](RankState& state) {
    state.type = static_cast<std::uint32_t>(DataType::float16);
  };
  EXPECT_NE(differ(type).find("allreduce of 100 half"), std::string::npos);
  const auto barrier = [](RankState& state) {
    state.collective = static_cast<std::uint32_t>(Collective::barrier);
  };
  EXPECT_NE(differ(barrier).find("rank 1 (x) calls barrier while"), std::string::npos);
}

TEST(Judge, CountsOfAlltoallvMayDiffer) {
  std::vector<Answer> answers{in_call(2, 1, 5), in_call(2, 0, 6)};
  for (Answer& answer : answers) {
    answer.state.collective = static_cast<std::uint32_t>(Collective::alltoallv);
  }
  EXPECT_EQ(judge_named(answers).kind, ErrorKind::timeout);
}

TEST(Judge, WhoLeftWhileOthersWait) {
  const Finding finding =
      judge_named({in_call(12, 3), in_call(12, 3), in_call(12, 0), gone(Gone::left)});
  EXPECT_EQ(finding.kind, ErrorKind::remote);
  EXPECT_EQ(finding.text, "rank 3 (x) left while ranks 0, 1 wait for it in call 12");
}

TEST(Judge, WhoLeftAndIsNotMissedIsNotBlamed) {
  const Finding finding = judge_named({in_call(12, 1), in_call(12, -1), gone(Gone::left)});
  EXPECT_EQ(finding.text.find("rank 2"), std::string::npos) << finding.text;
}

TEST(Judge, BrokenConnections) {
  const Finding finding = judge_named(
      {in_call(1, 1), in_call(1, 2), with_report(in_call(1, 1), ReportKind::broken, 1, "reset")});
  EXPECT_EQ(finding.kind, ErrorKind::remote);
  EXPECT_EQ(finding.text, "the connection between rank 2 (x) and rank 1 (x) broke: reset");
}

Answer with_dead(Answer answer, std::vector<DeadLink> dead) {
  answer.state.dead = std::move(dead);
  return answer;
}

// Neither would be found by who waits for whom: all wait in a circle.
TEST(Judge, AConnectionThatCarriesNothing) {
  const Finding finding = judge_named({in_call(5, 2), with_dead(in_call(5, 0), {{2, "a to b"}}),
                                       with_dead(in_call(5, 1), {{1, "b to a"}})});
  EXPECT_EQ(finding.kind, ErrorKind::timeout);
  EXPECT_EQ(finding.text,
            "the connection between rank 1 (x) and rank 2 (x) carries nothing, though both live: a "
            "to b; ranks 0, 1, 2 wait in call 5 (allreduce of 100 float)");
}

TEST(Judge, ARankThatIsCutOffFromData) {
  const Finding finding =
      judge_named({with_dead(in_call(5, 2), {{2, "a to c"}}), in_call(5, 0),
                   with_dead(in_call(5, 1), {{0, "c to a"}, {3, "c to d"}}), finished(5)});
  EXPECT_EQ(finding.text,
            "the connections between rank 2 (x) and ranks 0, 3 carry nothing, though all of them "
            "live: rank 0 to rank 2: a to c; rank 2 to rank 3: c to d; ranks 0, 1, 2 wait in call "
            "5 (allreduce of 100 float)");
}

TEST(Judge, ConnectionsThatShareNoEnd) {
  const Finding finding = judge_named({with_dead(in_call(5, 1), {{1, "a to b"}}), in_call(5, 0),
                                       with_dead(in_call(5, 3), {{3, "c to d"}}), in_call(5, 2),
                                       with_dead(in_call(5, 5), {{5, "e to f"}}), in_call(5, 4)});
  EXPECT_TRUE(
      finding.text.starts_with("3 connections carry nothing, though their ranks live: rank "
                               "0 to rank 1: a to b; rank 2 to rank 3: c to d; and 1 more"))
      << finding.text;
}

TEST(Judge, SilenceComesBeforeDeadConnections) {
  const Answer cut = with_dead(in_call(5, 1), {{1, "a to b"}});
  EXPECT_EQ(judge_named({cut, Answer{}}).silent, (std::vector<std::uint32_t>{1}));
}

// Whoever gives up on one connection closes its others.
TEST(Judge, DeadConnectionsComeBeforeThoseThatBroke) {
  const Finding finding = judge_named({with_report(in_call(1, 1), ReportKind::broken, 1, "reset"),
                                       with_dead(in_call(1, -1), {{2, "b to c", false}}),
                                       with_dead(in_call(1, -1), {{1, "b to c", false}})});
  EXPECT_TRUE(
      finding.text.starts_with("the connection between rank 1 (x) and rank 2 (x) carries "
                               "nothing, though both live: b to c"))
      << finding.text;
}

TEST(Judge, WhatDoesNotOpenIsDeadOnlyWhereBothWaitForIt) {
  const Answer waits = with_dead(in_call(5, -1), {{1, "a to b", false}});
  EXPECT_TRUE(
      judge_named({waits, finished(4)}).text.starts_with("rank 1 (x) has not entered call 5"));
}

TEST(Judge, AMessageOfNoCall) {
  const Finding finding =
      judge_named({with_report(in_call(5, 1), ReportKind::mismatch, 1), in_call(6, -1)});
  EXPECT_EQ(finding.kind, ErrorKind::invalid_usage);
  EXPECT_EQ(finding.text,
            "rank 0 (x) got a message from rank 1 (x) that does not belong to its call 5 "
            "(allreduce of 100 float); that one is in call 6 (allreduce of 100 float)");
}

TEST(Judge, WhoHasNotEnteredTheCall) {
  const Finding finding = judge_named({in_call(12, 1), in_call(12, 2), finished(11)});
  EXPECT_EQ(finding.kind, ErrorKind::timeout);
  EXPECT_EQ(
      finding.text,
      "rank 2 (x) has not entered call 12 (allreduce of 100 float) that ranks 0, 1 wait in; it "
      "has finished call 11 (allreduce of 100 float)");
}

TEST(Judge, TheEarliestCallIsTheOneThatHangs) {
  // 0 waits in call 12 for 1, which still waits in call 11 for 2, which has not come that far.
  const Finding finding = judge_named({in_call(12, 1), in_call(11, 2), finished(10)});
  EXPECT_NE(finding.text.find("rank 2 (x) has not entered call 11"), std::string::npos)
      << finding.text;
}

TEST(Judge, WhoNeverOpenedTheCommunicator) {
  Answer stranger;
  stranger.answered = true;
  const Finding finding = judge_named({in_call(1, 1), stranger});
  EXPECT_NE(finding.text.find("it has not opened this communicator"), std::string::npos)
      << finding.text;
}

TEST(Judge, TheEndOfTheChain) {
  const Finding finding = judge_named({in_call(3, 2), in_call(3, -1), in_call(3, 1)});
  EXPECT_EQ(finding.kind, ErrorKind::timeout);
  EXPECT_EQ(finding.text,
            "rank 1 (x) is busy in call 3 (allreduce of 100 float) and waits for "
            "nobody, while ranks 0, 2 wait for it");
}

TEST(Judge, TheEndHasFinished) {
  const Finding finding = judge_named({in_call(3, 1), finished(3)});
  EXPECT_EQ(finding.text,
            "rank 0 (x) waits in call 3 (allreduce of 100 float) for rank 1 (x), which "
            "has finished call 3 (allreduce of 100 float): what it sent was lost");
}

TEST(Judge, ACircle) {
  const Finding finding =
      judge_named({in_call(3, 2), in_call(3, 2), in_call(3, 3), in_call(3, 1), in_call(3, 0)});
  EXPECT_NE(finding.text.find("ranks 1, 2, 3 wait for each other in call 3"), std::string::npos)
      << finding.text;
}

TEST(Judge, NobodyIsInACall) {
  const Finding finding =
      judge_named({with_report(finished(3), ReportKind::timeout, 1), finished(3)});
  EXPECT_EQ(finding.kind, ErrorKind::timeout);
  EXPECT_NE(finding.text.find("did nothing that rank 0 (x) waits for"), std::string::npos)
      << finding.text;
  const Finding unknown =
      judge_named({with_report(finished(3), ReportKind::timeout, 7), finished(3)});
  EXPECT_NE(unknown.text.find("nobody is in a call any more"), std::string::npos) << unknown.text;
}

TEST(Judge, AnyAnswersAtAllGiveASentence) {
  // Whatever ranks say, wrong peers among it: one sentence, and the same one again.
  std::uint64_t random = 1;
  const auto next = [&random](std::uint64_t limit) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    return (random >> 33) % limit;
  };
  for (int round = 0; round < 20000; ++round) {
    std::vector<Answer> answers(1 + next(5));
    for (Answer& answer : answers) {
      answer = in_call(1 + next(3), static_cast<int>(next(7)) - 1, 5 + next(2));
      if (next(3) == 0) answer = finished(next(3), 5);
      if (next(4) == 0) answer = gone(next(2) == 0 ? Gone::left : Gone::no);
      if (next(4) == 0 && answer.answered) {
        answer =
            with_report(answer, static_cast<ReportKind>(next(4)), static_cast<int>(next(7)) - 1);
      }
    }
    const Finding finding = judge_named(answers);
    EXPECT_EQ(finding.silent.empty(), !finding.text.empty());
    EXPECT_EQ(judge_named(answers).text, finding.text);
  }
}

}  // namespace
}  // namespace accl::bootstrap
