// put_benchmark.cc - nanoseconds of a core for a message over verbs: put() until the request is
// posted, and poll() for its completion and release; and for one that comes, with a device that
// costs nothing (tests/verbs/null_device.h). ACCL_FAKE_VERBS names the built fake libibverbs.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <optional>

#include "accl/base/error.h"
#include "tests/verbs/alone.h"

namespace accl {
namespace {

void run(benchmark::State& state, bool is_known, verbs::PostWay way) {
  const char* const library = std::getenv("ACCL_FAKE_VERBS");
  if (library == nullptr) return state.SkipWithError("set ACCL_FAKE_VERBS");
  verbs::Settings settings;
  settings.post_way = way;
  test::AloneChannel alone(library, settings);
  std::vector<std::byte> payload(static_cast<std::size_t>(state.range(0)));
  std::optional<verbs::Registry::Claim> claim;
  if (is_known) claim.emplace(alone.know(payload));
  std::uint32_t lane = 0;
  for (auto _ : state) {
    alone.put(lane, payload);
    lane = (lane + 1) % test::AloneChannel::geometry.lanes;
    if (lane == 0) alone.channel().poll();
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

// By ibv_wr_*, and by ibv_post_send.
void put(benchmark::State& state) { run(state, false, verbs::PostWay::extended); }
void put_classic(benchmark::State& state) { run(state, false, verbs::PostWay::classic); }

// From memory that the device reads where it lies.
void lend(benchmark::State& state) { run(state, true, verbs::PostWay::extended); }
void lend_classic(benchmark::State& state) { run(state, true, verbs::PostWay::classic); }

void receive(benchmark::State& state, bool is_expected) {
  const char* const library = std::getenv("ACCL_FAKE_VERBS");
  if (library == nullptr) return state.SkipWithError("set ACCL_FAKE_VERBS");
  test::AloneChannel alone(library);
  std::vector<std::byte> target(static_cast<std::size_t>(state.range(0)));
  const auto claim = alone.know(target);
  std::uint32_t lane = 0;
  for (auto _ : state) {
    if (alone.receive(lane, target, is_expected) != is_expected) state.SkipWithError("no grant");
    lane = (lane + 1) % test::AloneChannel::geometry.lanes;
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

// Through the ring, and from there to where it belongs.
void receive_by_ring(benchmark::State& state) { receive(state, false); }

// Into its place, with the grant for it.
void receive_in_place(benchmark::State& state) { receive(state, true); }

BENCHMARK(receive_in_place)->Arg(32 << 10)->Arg(256 << 10);
BENCHMARK(receive_by_ring)->Arg(32 << 10)->Arg(256 << 10);
BENCHMARK(lend)->Arg(32 << 10)->Arg(256 << 10);
BENCHMARK(lend_classic)->Arg(32 << 10)->Arg(256 << 10);
BENCHMARK(put)->Arg(8)->Arg(112)->Arg(1024)->Arg(32 << 10)->Arg(256 << 10);
BENCHMARK(put_classic)->Arg(8)->Arg(112)->Arg(1024)->Arg(32 << 10)->Arg(256 << 10);

}  // namespace
}  // namespace accl

BENCHMARK_MAIN();
