// No way of breaking a plan gets past the verifier. Every mutant is caught, or is shown to mean
// the same by an argument that owes nothing to the verifier:
//   - two steps changed places that touch nothing in common and are no messages of one channel,
//     or add to the same sum;
//   - a step reads the input where it read the copy of it, or the other way round;
//   - the operands of an addition changed places (addition commutes, to the bit);
//   - in a barrier, hearing of someone twice or on another way is as good;
// and in each of these cases the mutant also runs on real numbers and gives the right result.
#include <gtest/gtest.h>

#include "tests/algorithms/interpreter.h"
#include "tests/algorithms/mutate.h"
#include "tests/algorithms/shapes.h"

namespace accl::test {
namespace {

struct Tally {
  int made = 0;
  int caught = 0;
  int equivalent = 0;
};

bool has_in_place(Collective collective) {
  return collective != Collective::alltoall && collective != Collective::alltoallv &&
         collective != Collective::sendrecv;
}

bool means_the_same(const PlanSet& original, const Mutant& mutant) {
  const bool swapped = mutant.second > mutant.first;
  const std::vector<Step>& steps = original.positions[mutant.position];
  if (swapped && may_swap(steps, mutant.first, mutant.second, false) &&
      (!has_in_place(original.collective) || may_swap(steps, mutant.first, mutant.second, true))) {
    return true;
  }
  if (mutant.mutation == Mutation::change_buffer) {
    const Step& changed = mutant.plan.positions[mutant.position][mutant.first];
    if (reads_a_copy(steps, mutant.first, changed)) return true;
  }
  return mutant.mutation == Mutation::swap_operands || original.collective == Collective::barrier;
}

std::string runs_right(const PlanSet& plan) {
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    const bool in_place = has_in_place(plan.collective) && seed >= 3;
    if (const auto wrong = run_plan(plan, in_place, seed)) return *wrong;
  }
  return {};
}

class MutationTest : public testing::TestWithParam<Algorithm> {
 protected:
  void try_all_mutants(const Shape& shape, const PlanSet& plan) {
    const std::string name = describe(GetParam(), shape);
    for_each_mutant(plan, [&](const Mutant& mutant) {
      Tally& tally = tallies_[static_cast<std::size_t>(mutant.mutation)];
      ++tally.made;
      if (find_fault(mutant.plan)) {
        ++tally.caught;
        return;
      }
      const std::string what =
          name + ": " + mutation_names[static_cast<std::size_t>(mutant.mutation)] +
          " at position " + std::to_string(mutant.position) + " step " +
          std::to_string(mutant.first) + " and " + std::to_string(mutant.second);
      EXPECT_TRUE(means_the_same(plan, mutant)) << what << " survives";
      EXPECT_EQ(runs_right(mutant.plan), "") << what << " survives and is wrong";
      ++tally.equivalent;
    });
  }

  std::array<Tally, mutation_names.size()> tallies_;
};

TEST_P(MutationTest, NoMutantThatChangesMeaningSurvives) {
  for (const std::uint32_t size : {2U, 3U, 4U, 5U, 6U, 8U}) {
    for (const Shape& shape : shapes_of(GetParam(), size)) {
      // Mutants of one root are as good as of another; the second is not at the front.
      if (index(shape.root) > 1) continue;
      if (HasFailure()) return;
      const PlanSet plan = make_plan_set(GetParam(), shape);
      if (plan.step_count() <= 200) try_all_mutants(shape, plan);
    }
  }
  int made = 0;
  int caught = 0;
  for (std::size_t kind = 0; kind < tallies_.size(); ++kind) {
    const Tally& tally = tallies_[kind];
    made += tally.made;
    caught += tally.caught;
    EXPECT_EQ(tally.made, tally.caught + tally.equivalent) << mutation_names[kind];
  }
  std::printf("  %d mutants, %d caught, %d shown to mean the same\n", made, caught, made - caught);
  EXPECT_GT(caught, made / 2);
}

INSTANTIATE_TEST_SUITE_P(EveryAlgorithm, MutationTest,
                         testing::ValuesIn(algorithms().begin(), algorithms().end()),
                         [](const auto& tested) {
                           return std::string(name_of(tested.param.collective)) + "_" +
                                  std::string(tested.param.name);
                         });

}  // namespace
}  // namespace accl::test
