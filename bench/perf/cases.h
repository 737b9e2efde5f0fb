// cases.h - the rows of a run: every combination of type, operation, root and size, in nccl-tests'
// order, and what each needs of memory and means in bandwidth.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "accl/base/ids.h"
#include "accl/base/types.h"
#include "accl/communicator.h"
#include "bench/perf/options.h"

namespace accl::perf {

// One row. Usually one call; the tensors of a workload are several, on memory that lies in a row.
struct Case {
  Collective collective = Collective::allreduce;
  DataType type = DataType::float32;
  ReduceOp op = ReduceOp::sum;
  Rank root{};
  std::vector<std::size_t> counts;  // Of each call: elements, as in accl.h.
  std::string name;                 // Of a workload; otherwise empty.
};

// Elements of the whole row, over all calls.
std::size_t total_count(const Case& row);
std::size_t send_elements(const Case& row, std::uint32_t ranks);
std::size_t recv_elements(const Case& row, std::uint32_t ranks);

// What nccl-tests prints as size: the whole message, over all ranks where each has a block.
std::uint64_t size_bytes(const Case& row, std::uint32_t ranks);
// busbw / algbw.
double bandwidth_factor(Collective collective, std::uint32_t ranks);

// Whether recv may be send (or its block): not for alltoall and sendrecv.
bool has_in_place(Collective collective);

// "sum" or "none"; the root, or -1.
std::string operation_name(const Case& row);
std::int64_t root_number(const Case& row);

// Call number `call` of the row. In place, `recv` is the one buffer.
Call make_call(const Case& row, std::size_t call, Rank self, std::uint32_t ranks, std::byte* send,
               std::byte* recv, bool in_place);

// All rows of the table. Throws Error(invalid_argument) where they are more than a million.
std::vector<Case> make_cases(const Options& options, std::uint32_t ranks);

}  // namespace accl::perf
