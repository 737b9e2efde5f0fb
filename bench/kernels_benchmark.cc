// How fast the kernels are: bytes of target per second, for every type and operation, with the
// operands in the first cache, the second cache and memory, beside the rates of copying. Names are
// TARGET/TYPE/OPERATION/BYTES[/stream]; bytes are those of each of the three buffers. The best
// instruction set does everything, the others only sums.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>

#include "accl/base/units.h"
#include "accl/kernels/kernels.h"
#include "accl/kernels/targets.h"

namespace accl {
namespace {

using kernels::available_kernels;

constexpr std::size_t first_cache_bytes = std::size_t{8} << 10;
constexpr std::size_t second_cache_bytes = std::size_t{256} << 10;
constexpr std::size_t memory_bytes = std::size_t{64} << 20;

constexpr std::array arithmetic_ops{ReduceOp::sum, ReduceOp::prod, ReduceOp::max, ReduceOp::min};

struct Release {
  void operator()(std::byte* memory) const { ::operator delete[](memory, std::align_val_t{4096}); }
};
using Buffer = std::unique_ptr<std::byte[], Release>;

// Values around 1 in any floating type: no NaN, no infinity, nothing subnormal.
Buffer make_buffer(std::size_t bytes, std::uint8_t first) {
  Buffer buffer(new (std::align_val_t{4096}) std::byte[bytes]);
  for (std::size_t i = 0; i < bytes; ++i) {
    buffer[i] = static_cast<std::byte>(0x30 + (first + i) % 16);
  }
  return buffer;
}

// The copying rates are to stand beside those of the kernels, so copies take turns like them: one
// source, one target.
template <class Copy>
void measure_copy(benchmark::State& state, std::size_t bytes, Copy copy) {
  const Buffer target = make_buffer(bytes, 0), source = make_buffer(bytes, 1);
  for (auto _ : state) {
    copy(target.get(), source.get(), bytes);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * bytes));
}

void measure_reduce(benchmark::State& state, std::size_t bytes, DataType type, ReduceKernel kernel,
                    Store store) {
  const Buffer target = make_buffer(bytes, 0), a = make_buffer(bytes, 1), b = make_buffer(bytes, 2);
  const std::size_t count = bytes / size_of(type);
  for (auto _ : state) {
    kernel(target.get(), a.get(), b.get(), count, store);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * bytes));
}

void measure_scale(benchmark::State& state, std::size_t bytes, DataType type) {
  const Buffer target = make_buffer(bytes, 0), source = make_buffer(bytes, 1);
  for (auto _ : state) {
    scale(target.get(), source.get(), bytes / size_of(type), type, 0.25);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * bytes));
}

template <class Measure, class... Values>
void add(const std::string& name, Measure measure, Values... values) {
  benchmark::RegisterBenchmark(name.c_str(), measure, values...)->MinTime(0.05);
}

void add_copies() {
  const auto plain = [](void* to, const void* from, std::size_t bytes) {
    copy_bytes(to, from, bytes, Store::cached);
  };
  const auto stream = [](void* to, const void* from, std::size_t bytes) {
    copy_bytes(to, from, bytes, Store::stream);
  };
  for (const std::size_t bytes : {first_cache_bytes, second_cache_bytes, memory_bytes}) {
    add(fmt::format("copy/{}", format_bytes(bytes)), measure_copy<decltype(plain)>, bytes, plain);
  }
  add(fmt::format("copy/{}/stream", format_bytes(memory_bytes)), measure_copy<decltype(stream)>,
      memory_bytes, stream);
}

void add_reductions(const kernels::KernelSet& set, DataType type, ReduceOp op) {
  const ReduceKernel kernel = set.reduction(type, op);
  const std::string name = fmt::format("{}/{}/{}", set.name, name_of(type), name_of(op));
  // What a call costs beyond its bytes.
  add(name + "/8", measure_reduce, std::size_t{8}, type, kernel, Store::cached);
  for (const std::size_t bytes : {first_cache_bytes, second_cache_bytes, memory_bytes}) {
    add(fmt::format("{}/{}", name, format_bytes(bytes)), measure_reduce, bytes, type, kernel,
        Store::cached);
  }
  add(fmt::format("{}/{}/stream", name, format_bytes(memory_bytes)), measure_reduce, memory_bytes,
      type, kernel, Store::stream);
}

void add_types(const kernels::KernelSet& set, ReduceOp op) {
  for (std::size_t type = 0; type < data_type_count; ++type) {
    add_reductions(set, static_cast<DataType>(type), op);
  }
}

void add_all() {
  add_copies();
  for (const ReduceOp op : arithmetic_ops) add_types(available_kernels().front(), op);
  for (const auto& set : available_kernels().subspan(1)) add_types(set, ReduceOp::sum);
  for (const DataType type : {DataType::float16, DataType::float32, DataType::float64,
                              DataType::bfloat16, DataType::f8e4m3, DataType::f8e5m2}) {
    const auto bytes = first_cache_bytes;
    add(fmt::format("{}/{}/scale/{}", kernel_target(), name_of(type), format_bytes(bytes)),
        measure_scale, bytes, type);
  }
}

}  // namespace
}  // namespace accl

int main(int argc, char** argv) {
  accl::add_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
