// types.h - what travels: data types, reduction operations and collectives, with NCCL's numbers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace accl {

enum class DataType : std::uint8_t {
  int8,
  uint8,
  int32,
  uint32,
  int64,
  uint64,
  float16,
  float32,
  float64,
  bfloat16,
  f8e4m3,
  f8e5m2,
};
constexpr std::size_t data_type_count = 12;

enum class ReduceOp : std::uint8_t { sum, prod, max, min, avg, premul_sum };
constexpr std::size_t reduce_op_count = 6;

enum class Collective : std::uint8_t {
  allreduce,
  reduce_scatter,
  allgather,
  broadcast,
  reduce,
  alltoall,
  gather,
  scatter,
  sendrecv,
  barrier,
  alltoallv,
};
constexpr std::size_t collective_count = 11;

constexpr std::size_t size_of(DataType type) {
  constexpr std::array<std::uint8_t, data_type_count> bytes{1, 1, 4, 4, 8, 8, 2, 4, 8, 2, 1, 1};
  return bytes[static_cast<std::size_t>(type)];
}

// Names as nccl-tests prints and reads them: "float", "half", "f8e4m3"; "sum", "mulsum"; our own
// command names for collectives: "allreduce", "reduce_scatter".
std::string_view name_of(DataType type);
std::string_view name_of(ReduceOp op);
std::string_view name_of(Collective collective);
std::optional<DataType> data_type_named(std::string_view name);
std::optional<ReduceOp> reduce_op_named(std::string_view name);
std::optional<Collective> collective_named(std::string_view name);

}  // namespace accl
