#include "accl/base/types.h"

#include <algorithm>

namespace accl {
namespace {

constexpr std::string_view type_names[] = {"int8",   "uint8",    "int32",  "uint32",
                                           "int64",  "uint64",   "half",   "float",
                                           "double", "bfloat16", "f8e4m3", "f8e5m2"};
constexpr std::string_view op_names[] = {"sum", "prod", "max", "min", "avg", "mulsum"};
constexpr std::string_view collective_names[] = {
    "allreduce", "reduce_scatter", "allgather", "broadcast", "reduce",   "alltoall",
    "gather",    "scatter",        "sendrecv",  "barrier",   "alltoallv"};

template <class Enum, std::size_t count>
std::optional<Enum> find(const std::string_view (&names)[count], std::string_view name) {
  const auto* at = std::ranges::find(names, name);
  if (at == std::end(names)) return std::nullopt;
  return static_cast<Enum>(at - std::begin(names));
}

}  // namespace

std::string_view name_of(DataType type) { return type_names[static_cast<std::size_t>(type)]; }
std::string_view name_of(ReduceOp op) { return op_names[static_cast<std::size_t>(op)]; }
std::string_view name_of(Collective collective) {
  return collective_names[static_cast<std::size_t>(collective)];
}
std::optional<DataType> data_type_named(std::string_view name) {
  return find<DataType>(type_names, name);
}
std::optional<ReduceOp> reduce_op_named(std::string_view name) {
  return find<ReduceOp>(op_names, name);
}
std::optional<Collective> collective_named(std::string_view name) {
  return find<Collective>(collective_names, name);
}

}  // namespace accl
