// What the executor itself costs, with nothing below it: one rank that is its own peer, tiny
// pieces, so that neither waiting nor bytes count. Per step (an operation with its message) and per
// slice, for the general walk; per call for straight calls. The limit is a walk over an array: some
// ten nanoseconds a step.
#include <benchmark/benchmark.h>

#include <memory>
#include <vector>

#include "accl/executor.h"
#include "accl/routes.h"
#include "transport/loop.h"

namespace accl {
namespace {

constexpr std::size_t piece = 4;  // Elements of a slice's chunk: one tiny message.
constexpr Geometry geometry{.lanes = most_lanes, .ring_bytes = 1 << 20};

// A chain of `steps` exchanges, each a send and a reduction of what came.
Program chain(std::uint32_t steps) {
  StepList list;
  for (std::uint32_t i = 0; i < steps; ++i) {
    list.send(input(0), Position{1}, scratch(i));
    list.recv(scratch(i), Position{1});
    list.reduce(output(0), input(0), scratch(i));
  }
  return lower(list.steps(), 1);
}

// One rank, its program, and its lanes to itself.
struct Stage {
  explicit Stage(std::uint32_t steps, std::uint32_t slices)
      : endpoint(geometry, LoopKind::pull_cells), values(2 * piece * slices) {
    lanes.width = most_lanes;
    for (std::uint32_t i = 0; i < most_lanes; ++i) lanes.lanes[i] = Lane(endpoint, i, geometry);
    route.program = std::make_shared<Program>(chain(steps));
    route.peers = {&lanes};
    call = {.send = values.data(),
            .recv = values.data() + piece * slices,
            .count = piece * slices,
            .type = DataType::float32};
    binding.program = route.program.get();
    binding.peers = route.peers;
    binding.input_layout = binding.output_layout = Layout::whole(call.count, 1, piece);
    binding.input.base = reinterpret_cast<std::byte*>(values.data());
    binding.output.base = reinterpret_cast<std::byte*>(values.data() + piece * slices);
    binding.type = call.type;
    binding.kernel = reduce_kernel(call.type, ReduceOp::sum);
    binding.width = most_lanes;
  }

  LoopEndpoint endpoint;
  std::vector<float> values;
  PeerLanes lanes;
  Route route;
  Call call;
  Binding binding;
};

void general(benchmark::State& state) {
  const auto steps = static_cast<std::uint32_t>(state.range(0));
  const auto slices = static_cast<std::uint32_t>(state.range(1));
  Stage stage(steps, slices);
  Executor executor;
  executor.begin(stage.binding);
  std::uint32_t tag = 0;
  for (auto _ : state) {
    executor.begin_again(++tag);
    while (!executor.is_done()) executor.advance();
  }
  const auto rate = [&](double things) {
    return benchmark::Counter(
        things, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
  };
  state.counters["per_step"] = rate(static_cast<double>(steps) * slices);
  state.counters["per_slice"] = rate(slices);
}

void straight(benchmark::State& state) {
  const auto steps = static_cast<std::uint32_t>(state.range(0));
  Stage stage(steps, 1);
  const auto line = Straight::make(stage.call, stage.route, stage.binding, 0);
  if (line == nullptr) return state.SkipWithError("the call does not fit a straight line");
  std::uint32_t tag = 0;
  for (auto _ : state) {
    line->begin(stage.call.send, stage.call.recv, ++tag);
    while (!line->is_done()) line->advance();
  }
  state.counters["per_step"] = benchmark::Counter(
      steps, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

BENCHMARK(general)->ArgNames({"steps", "slices"})->ArgsProduct({{1, 4, 16}, {1, 64, 1024}});
BENCHMARK(straight)->ArgName("steps")->Arg(1)->Arg(4)->Arg(16);

}  // namespace
}  // namespace accl

BENCHMARK_MAIN();
