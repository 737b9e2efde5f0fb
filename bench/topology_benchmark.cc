// topology_benchmark.cc - how long the rank mapper takes, its count of every message included. The
// targets: 16,384 ranks in 2 s, a search over 2048 uneven ranks with dead cables in 60 s.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <string>

#include "topology/fabric/spec.h"
#include "topology/mapping/mapper.h"

namespace accl::topology {
namespace {

Fabric fabric_from(const std::string& text) {
  Section spec = Section::parse(text, "benchmark");
  return read_fabric(spec);
}

void map_it(benchmark::State& state, const Fabric& fabric, const Condition& condition) {
  double most = 0;
  for (auto unused : state) {
    static_cast<void>(unused);
    most = map_ranks(fabric, condition, {}).most();
  }
  state.counters["ranks"] = static_cast<double>(condition.nics.size());
  state.counters["messages_on_a_cable"] = most;
}

// `side` switches a layer with half as many NICs each.
void closed_form(benchmark::State& state) {
  const auto side = static_cast<int>(state.range(0));
  const Fabric fabric = fabric_from(
      fmt::format("name: even\ntopology: bigraph\nservers: {{count: {}}}\n"
                  "upper: {{switches: {}, nics: {}}}\nlower: {{switches: {}, nics: {}}}\n",
                  side * side, side, side / 2, side, side / 2));
  map_it(state, fabric, whole(fabric));
}
BENCHMARK(closed_form)->Arg(16)->Arg(64)->Arg(128)->Unit(benchmark::kMillisecond);

void search(benchmark::State& state) {
  std::string fills;
  for (int i = 0; i < 32; ++i) fills += fmt::format("{}{}", i > 0 ? ", " : "", 28 + i % 3 * 4);
  // 32 switches with 28, 32, 36, 28, ... NICs: 1020 a layer.
  const Fabric fabric = fabric_from(
      fmt::format("name: uneven\ntopology: bigraph\nservers: {{count: 2040}}\n"
                  "upper: {{switches: 32, nics: [{}]}}\nlower: {{switches: 32, nics: [{}]}}\n"
                  "cables_per_pair: 2\n",
                  fills, fills));
  Condition condition = whole(fabric);
  apply_dead(fabric, "upper0--lower3\nupper5--lower9\nupper7--lower7\n", "dead", condition);
  map_it(state, fabric, condition);
}
BENCHMARK(search)->Unit(benchmark::kMillisecond)->Iterations(1);

}  // namespace
}  // namespace accl::topology

BENCHMARK_MAIN();
