// The assignment against all assignments there are, and the promises of pairing on it.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>

#include "topology/machine/assignment.h"

namespace accl::topology {
namespace {

struct Problem {
  std::vector<UserCost> costs;
  std::vector<unsigned> ports;

  std::size_t users() const { return costs.size() / ports.size(); }
};

// The four sums that assignment.h promises to compare; crowding in 2520ths.
std::array<std::int64_t, 4> value_of(const Problem& problem,
                                     const std::vector<std::size_t>& choice) {
  std::array<std::int64_t, 4> sums{};
  std::vector<std::int64_t> load(problem.ports.size());
  for (std::size_t user = 0; user < choice.size(); ++user) {
    const UserCost& cost = problem.costs[user * problem.ports.size() + choice[user]];
    sums[0] += cost.off_switch;
    sums[2] += cost.path;
    sums[3] += cost.tie;
    ++load[choice[user]];
  }
  for (std::size_t j = 0; j < load.size(); ++j) {
    sums[1] += load[j] * (load[j] - 1) * 2520 / problem.ports[j];
  }
  return sums;
}

std::array<std::int64_t, 4> best_of_all(const Problem& problem) {
  std::vector<std::size_t> choice(problem.users());
  auto best = value_of(problem, choice);
  for (;;) {
    std::size_t digit = 0;
    while (digit < choice.size() && ++choice[digit] == problem.ports.size()) choice[digit++] = 0;
    if (digit == choice.size()) return best;
    best = std::min(best, value_of(problem, choice));
  }
}

Problem draw(std::mt19937& random) {
  Problem problem;
  const std::size_t users = 1 + random() % 6;
  const std::size_t resources = 1 + random() % 4;
  for (std::size_t j = 0; j < resources; ++j) problem.ports.push_back(1 + random() % 2);
  for (std::size_t i = 0; i < users * resources; ++i) {
    problem.costs.push_back({static_cast<std::int64_t>(random() % 2),
                             static_cast<std::int64_t>(random() % 6),
                             static_cast<std::int64_t>(random() % 50)});
  }
  return problem;
}

TEST(Assignment, IsNeverWorseThanAnyOther) {
  std::mt19937 random(7);
  int greedy_would_lose = 0;
  for (int round = 0; round < 400; ++round) {
    const Problem problem = draw(random);
    const auto choice = assign(problem.costs, problem.ports);
    ASSERT_EQ(value_of(problem, choice), best_of_all(problem)) << "round " << round;
    EXPECT_EQ(choice, assign(problem.costs, problem.ports));
    // The control: problems that the first free resource in order does not solve must be frequent.
    const std::vector<std::size_t> first(problem.users(), 0);
    if (value_of(problem, first) != best_of_all(problem)) ++greedy_would_lose;
  }
  EXPECT_GT(greedy_would_lose, 200);
}

TEST(Assignment, SharesEvenlyWhenAllIsEqual) {
  const Problem problem{std::vector<UserCost>(4 * 2), {1, 1}};
  const auto choice = assign(problem.costs, problem.ports);
  EXPECT_EQ(std::count(choice.begin(), choice.end(), 0u), 2);
}

TEST(Assignment, ACardOfTwoPortsServesTwo) {
  const Problem problem{std::vector<UserCost>(3 * 2), {2, 1}};
  const auto choice = assign(problem.costs, problem.ports);
  EXPECT_EQ(std::count(choice.begin(), choice.end(), 0u), 2);
}

}  // namespace
}  // namespace accl::topology
