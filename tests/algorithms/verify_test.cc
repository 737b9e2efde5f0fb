// The verifier finds what is wrong and says where; what it lets pass computes the right thing.
#include "algorithms/verify.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "tests/algorithms/interpreter.h"
#include "tests/algorithms/shapes.h"

namespace accl::test {
namespace {

PlanSet plan_of(Collective collective, std::string_view name, std::uint32_t size) {
  const Algorithm* algorithm = find_algorithm(collective, name);
  EXPECT_NE(algorithm, nullptr);
  return make_plan_set(*algorithm, Shape{.size = size});
}

std::string fault_of(const PlanSet& plan) { return find_fault(plan).value_or("sound"); }

TEST(VerifyTest, NamesPositionStepAndReason) {
  PlanSet plan = plan_of(Collective::allreduce, "rd", 2);
  ASSERT_EQ(fault_of(plan), "sound");
  plan.positions[1][2].target.buffer = Buffer::input;
  EXPECT_EQ(fault_of(plan), "position 1 step 2: writes the input");
}

TEST(VerifyTest, SaysWhoHasNoPartner) {
  PlanSet plan = plan_of(Collective::allreduce, "rd", 2);
  plan.positions[1].erase(plan.positions[1].begin());
  EXPECT_EQ(fault_of(plan), "position 0 step 1: position 1 never sends this");
}

TEST(VerifyTest, FindsACycleOfReceives) {
  PlanSet plan = plan_of(Collective::sendrecv, "direct", 3);
  for (auto& steps : plan.positions) std::swap(steps[0], steps[1]);
  EXPECT_EQ(fault_of(plan),
            "deadlock: position 0 waits at step 0 (recv from 2), position 1 waits at step 0 (recv "
            "from 0), position 2 waits at step 0 (recv from 1)");
}

// Both send two messages before they receive any: right only where two have room.
TEST(VerifyTest, FindsAPlanThatNeedsAWideWindow) {
  PlanSet plan{Collective::allgather, Shape{.size = 2}, 4, {}};
  for (std::uint32_t own = 0; own < 2; ++own) {
    const Position peer{1 - own};
    StepList list;
    for (const std::uint32_t chunk : {2 * own, 2 * own + 1}) {
      list.send(input(chunk), peer, output(chunk));
    }
    list.copy(output(2 * own, 2), input(2 * own, 2));
    for (const std::uint32_t chunk : {2 - 2 * own, 3 - 2 * own}) list.recv(output(chunk), peer);
    plan.positions.push_back(list.steps());
  }
  EXPECT_EQ(fault_of(plan),
            "deadlock with one message under way per pair: position 0 waits at step 1 (send to 1), "
            "position 1 waits at step 1 (send to 0)");
}

// A message in scratch keeps its room until it is read, so a second one cannot come before that.
TEST(VerifyTest, AMessageInScratchIsUnderWayUntilRead) {
  PlanSet plan{Collective::broadcast, Shape{.size = 2}, 2, {}};
  StepList root;
  root.send(input(0), Position{1}, scratch(0));
  root.send(input(1), Position{1}, scratch(1));
  root.copy(output(0, 2), input(0, 2));
  StepList other;
  other.recv(scratch(0), Position{0});
  other.recv(scratch(1), Position{0});
  other.copy(output(0, 2), scratch(0, 2));
  plan.positions = {root.steps(), other.steps()};
  EXPECT_EQ(fault_of(plan).substr(0, 45), "deadlock with one message under way per pair:");
}

TEST(VerifyTest, FindsAHazardThatIsInPlaceOnly) {
  // Position 0 writes its output and then sends its input: the same memory in place.
  PlanSet plan = plan_of(Collective::allreduce, "oneshot", 2);
  auto& steps = plan.positions[0];
  StepList list;
  list.send(input(0), Position{1}, scratch(0));
  list.recv(scratch(1), Position{1});
  list.copy(output(0), scratch(1));
  list.reduce(output(0), output(0), input(0));
  steps = list.steps();
  EXPECT_EQ(fault_of(plan),
            "position 0: output chunk 0 ends with the wrong contributions (in place)");
}

TEST(VerifyTest, ComparesTheOrderOfAdditions) {
  PlanSet plan = plan_of(Collective::allreduce, "oneshot", 3);
  for (Step& step : plan.positions[2]) {
    // (0 + 1) + 2 becomes (0 + 2) + 1 at position 2.
    if (step.kind != Step::Kind::reduce) continue;
    if (step.other == scratch(1)) {
      step.other = input(0);
    } else {
      step.other = scratch(1);
    }
  }
  EXPECT_EQ(fault_of(plan),
            "position 2: output chunk 0 is added in another order than at position 0");
}

TEST(VerifyTest, FindsChunksOfDifferentSizeMeet) {
  PlanSet plan = plan_of(Collective::allreduce, "ring", 4);
  Step& reduce = plan.positions[0][2];
  ASSERT_EQ(reduce.kind, Step::Kind::reduce);
  reduce.other.chunk += 1;
  EXPECT_EQ(fault_of(plan), "position 0 step 2: other source and target differ in size");
}

// Bruck's alltoall is sound for equal blocks only.
TEST(VerifyTest, BruckIsNoPlanForBlocksOfDifferentSize) {
  PlanSet plan = plan_of(Collective::alltoall, "bruck", 4);
  EXPECT_EQ(fault_of(plan), "sound");
  plan.collective = Collective::alltoallv;
  EXPECT_NE(fault_of(plan), "sound");
  EXPECT_EQ(find_algorithm(Collective::alltoallv, "bruck"), nullptr);
}

TEST(VerifyTest, FindsWorkNobodyNeeds) {
  PlanSet plan = plan_of(Collective::broadcast, "chain", 2);
  plan.positions[1].push_back(
      {.kind = Step::Kind::copy, .target = scratch(0), .source = output(0)});
  EXPECT_EQ(fault_of(plan), "position 1 step 1: nobody reads what it writes");
}

class SoundTest : public testing::TestWithParam<Algorithm> {};

TEST_P(SoundTest, EverySizeUpTo64) {
  for (std::uint32_t size = 1; size <= 64; ++size) {
    for (const Shape& shape : shapes_of(GetParam(), size)) {
      const auto fault = find_fault(make_plan_set(GetParam(), shape));
      ASSERT_FALSE(fault.has_value()) << describe(GetParam(), shape) << ": " << *fault;
    }
  }
}

TEST_P(SoundTest, OnePositionOnlyCopies) {
  const PlanSet plan = make_plan_set(GetParam(), Shape{});
  ASSERT_EQ(plan.positions[0].size(), 1U);
  const Step& step = plan.positions[0][0];
  EXPECT_EQ(step.kind, Step::Kind::copy);
  EXPECT_EQ(step.target, output(0, plan.chunks));
  EXPECT_EQ(step.source, input(0, plan.chunks));
}

// The interpreter knows nothing of the verifier.
TEST_P(SoundTest, ComputesThePromise) {
  const Collective collective = GetParam().collective;
  const bool in_place = collective != Collective::alltoall && collective != Collective::alltoallv &&
                        collective != Collective::sendrecv;
  for (std::uint32_t size = 1; size <= 13; ++size) {
    for (const Shape& shape : shapes_of(GetParam(), size)) {
      const PlanSet plan = make_plan_set(GetParam(), shape);
      for (std::uint64_t seed = 0; seed < 6; ++seed) {
        const auto wrong = run_plan(plan, in_place && seed >= 3, seed);
        ASSERT_FALSE(wrong.has_value()) << describe(GetParam(), shape) << ": " << *wrong;
      }
    }
  }
}

// Large plans as a whole where they have up to a million steps (in the quick suite, a hundred
// thousand); otherwise two positions with all their peers.
TEST_P(SoundTest, LargeSizes) {
  const bool full = std::getenv("ACCL_TEST_FULL") != nullptr;
  const std::size_t most_steps = full ? 1'000'000 : 100'000;
  for (const std::uint32_t size : {128U, 256U, 1000U, 1024U, 4096U}) {
    for (const std::uint32_t width : {1U, 8U}) {
      const Shape shape{size, Position{size / 3}, width, First::near};
      if (!GetParam().fits(shape) || (width > 1 && GetParam().name != "twolevel")) continue;
      const std::size_t steps = make_steps(GetParam(), shape, Position{1}).size() * size;
      const std::string name = describe(GetParam(), shape);
      if (steps <= most_steps) {
        const auto fault = find_fault(make_plan_set(GetParam(), shape));
        ASSERT_FALSE(fault.has_value()) << name << ": " << *fault;
        continue;
      }
      std::printf("  %s: about %zu steps: sampled (2 positions and their peers)\n", name.c_str(),
                  steps);
      for (const std::uint32_t position : {size / 3, size - 1}) {
        const auto fault = find_fault_at(GetParam(), shape, Position{position});
        ASSERT_FALSE(fault.has_value()) << name << ": " << *fault;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryAlgorithm, SoundTest,
                         testing::ValuesIn(algorithms().begin(), algorithms().end()),
                         [](const auto& tested) {
                           return std::string(name_of(tested.param.collective)) + "_" +
                                  std::string(tested.param.name);
                         });

std::ptrdiff_t count_fitting(Collective collective, std::uint32_t size) {
  return std::ranges::count_if(algorithms(), [&](const Algorithm& algorithm) {
    return algorithm.collective == collective && algorithm.fits(Shape{.size = size});
  });
}

// Each collective has something for small and for large messages at every size.
TEST(CatalogTest, EveryCollectiveIsThereForEverySize) {
  for (std::size_t number = 0; number < collective_count; ++number) {
    const auto collective = static_cast<Collective>(number);
    const bool one_is_enough = collective == Collective::sendrecv ||
                               collective == Collective::barrier ||
                               collective == Collective::alltoallv;
    for (const std::uint32_t size : {1U, 2U, 3U, 7U, 24U, 31U, 4096U}) {
      EXPECT_GE(count_fitting(collective, size), one_is_enough ? 1 : 2)
          << name_of(collective) << " of " << size;
    }
  }
}

TEST(CatalogTest, NamesAreFoundAndListed) {
  EXPECT_EQ(find_algorithm(Collective::allreduce, "pairwise"), nullptr);
  ASSERT_NE(find_algorithm(Collective::alltoall, "pairwise"), nullptr);
  EXPECT_EQ(algorithm_names(Collective::broadcast), "tree, chain, scatter_ring");
  for (const Algorithm& algorithm : algorithms()) {
    const Algorithm* found = find_algorithm(algorithm.collective, algorithm.name);
    EXPECT_EQ(found, &algorithm) << "two rows of one name: " << algorithm.name;
  }
}

}  // namespace
}  // namespace accl::test
