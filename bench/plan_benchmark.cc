// The time to build one rank's plan, for every algorithm at 4096 ranks. It is paid once per
// communicator, collective, algorithm and root; it must stay under 10 ms.
#include <benchmark/benchmark.h>

#include <string>

#include "algorithms/catalog.h"

namespace accl {
namespace {

void build_plan(benchmark::State& state, const Algorithm* algorithm, std::uint32_t size) {
  const Shape shape{
      .size = size, .root = Position{0}, .width = algorithm->name == "twolevel" ? 8U : 1U};
  // Position 0 is the root, whose list is the longest.
  std::size_t steps = 0;
  for (auto _ : state) {
    StepList list;
    algorithm->emit(shape, Position{0}, list);
    steps = list.steps().size();
    benchmark::DoNotOptimize(list.steps().data());
  }
  state.counters["steps"] = static_cast<double>(steps);
}

}  // namespace
}  // namespace accl

int main(int argc, char** argv) {
  for (const accl::Algorithm& algorithm : accl::algorithms()) {
    for (const std::uint32_t size : {64U, 4096U}) {
      const std::string name = std::string(accl::name_of(algorithm.collective)) + "/" +
                               std::string(algorithm.name) + "/" + std::to_string(size);
      benchmark::RegisterBenchmark(name.c_str(), accl::build_plan, &algorithm, size)
          ->Unit(benchmark::kMicrosecond);
    }
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
