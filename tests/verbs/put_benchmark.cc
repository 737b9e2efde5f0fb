// put_benchmark.cc - nanoseconds of a core for a message over verbs: put() until the request is
// posted, and poll() for its completion and release, with a device that costs nothing
// (tests/verbs/null_device.h). ACCL_FAKE_VERBS names the built fake libibverbs.
#include <benchmark/benchmark.h>

#include <cstdlib>

#include "accl/base/error.h"
#include "tests/verbs/alone.h"

namespace accl {
namespace {

void put(benchmark::State& state) {
  const char* const library = std::getenv("ACCL_FAKE_VERBS");
  if (library == nullptr) return state.SkipWithError("set ACCL_FAKE_VERBS");
  test::AloneChannel alone(library);
  const std::vector<std::byte> payload(static_cast<std::size_t>(state.range(0)));
  std::uint32_t lane = 0;
  for (auto _ : state) {
    alone.put(lane, payload);
    lane = (lane + 1) % test::AloneChannel::geometry.lanes;
    if (lane == 0) alone.channel().poll();
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

BENCHMARK(put)->Arg(8)->Arg(112)->Arg(1024)->Arg(16 << 10)->Arg(256 << 10);

}  // namespace
}  // namespace accl

BENCHMARK_MAIN();
