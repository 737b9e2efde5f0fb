#include "bench/perf/cases.h"

#include <algorithm>
#include <numeric>

#include "accl/base/error.h"
#include "bench/perf/pattern.h"

namespace accl::perf {
namespace {

constexpr std::size_t most_rows = 1'000'000;

// Whether the size of the table counts the blocks of all ranks.
bool has_blocks(Collective collective) {
  return collective == Collective::reduce_scatter || collective == Collective::allgather ||
         collective == Collective::alltoall || collective == Collective::gather ||
         collective == Collective::scatter;
}

std::vector<std::uint64_t> sizes(const Options& options) {
  if (options.collective == Collective::barrier) return {0};
  std::vector<std::uint64_t> result;
  std::uint64_t size = options.min_bytes;
  while (size <= options.max_bytes) {
    result.push_back(size);
    if (result.size() > most_rows) {
      fail(ErrorKind::invalid_argument, "-i {}: more than {} rows; give a larger step",
           options.step_bytes, most_rows);
    }
    const bool grows = options.step_factor > 1;
    const std::uint64_t next = grows ? size * options.step_factor : size + options.step_bytes;
    if (next <= size || (grows && next / options.step_factor != size)) break;  // Beyond 64 bits.
    size = next;
  }
  return result;
}

std::vector<Rank> roots(const Options& options, std::uint32_t ranks) {
  if (!has_root(options.collective)) return {Rank{}};
  if (options.root >= 0) return {Rank{static_cast<std::uint32_t>(options.root)}};
  std::vector<Rank> all;
  for (std::uint32_t rank = 0; rank < ranks; ++rank) all.push_back(Rank{rank});
  return all;
}

std::size_t count_for(const Options& options, DataType type, std::uint64_t size,
                      std::uint32_t ranks) {
  const std::size_t elements = size / size_of(type);
  return has_blocks(options.collective) ? elements / ranks : elements;
}

void set_scalar(Call& call, Rank self) {
  if (call.op != ReduceOp::premul_sum) return;
  call.scalar = premul_factor(self);
  call.integer_scalar = premul_factor(self);
}

}  // namespace

std::size_t total_count(const Case& row) {
  return std::accumulate(row.counts.begin(), row.counts.end(), std::size_t{0});
}

std::size_t send_elements(const Case& row, std::uint32_t ranks) {
  const bool all_blocks = row.collective == Collective::reduce_scatter ||
                          row.collective == Collective::alltoall ||
                          row.collective == Collective::scatter;
  return total_count(row) * (all_blocks ? ranks : 1);
}

std::size_t recv_elements(const Case& row, std::uint32_t ranks) {
  const bool all_blocks = row.collective == Collective::allgather ||
                          row.collective == Collective::alltoall ||
                          row.collective == Collective::gather;
  return total_count(row) * (all_blocks ? ranks : 1);
}

std::uint64_t size_bytes(const Case& row, std::uint32_t ranks) {
  return total_count(row) * size_of(row.type) * (has_blocks(row.collective) ? ranks : 1);
}

double bandwidth_factor(Collective collective, std::uint32_t ranks) {
  const double n = ranks;
  if (collective == Collective::allreduce) return 2 * (n - 1) / n;
  return has_blocks(collective) ? (n - 1) / n : 1;
}

bool has_in_place(Collective collective) {
  return collective != Collective::alltoall && collective != Collective::sendrecv;
}

std::string operation_name(const Case& row) {
  return std::string(has_operation(row.collective) ? name_of(row.op) : "none");
}

std::int64_t root_number(const Case& row) {
  return has_root(row.collective) ? static_cast<std::int64_t>(index(row.root)) : -1;
}

Call make_call(const Case& row, std::size_t call_number, Rank self, std::uint32_t ranks,
               std::byte* send, std::byte* recv, bool in_place) {
  Call call;
  call.collective = row.collective;
  call.type = row.type;
  call.op = has_operation(row.collective) ? row.op : ReduceOp::sum;
  call.root = row.root;
  call.count = row.counts[call_number];
  set_scalar(call, self);
  const std::size_t before = std::accumulate(
      row.counts.begin(), row.counts.begin() + static_cast<std::ptrdiff_t>(call_number),
      std::size_t{0});
  const std::size_t offset = before * size_of(row.type);
  call.send = send + offset;
  call.recv = recv + offset;
  if (row.collective == Collective::sendrecv) {
    call.recv_count = call.count;
    call.to = (index(self) + 1) % ranks;
    call.from = (index(self) + ranks - 1) % ranks;
  }
  if (!in_place) return call;
  std::byte* const whole = recv + offset;
  std::byte* const block = whole + index(self) * call.count * size_of(row.type);
  const bool send_is_whole =
      row.collective == Collective::reduce_scatter || row.collective == Collective::scatter;
  const bool recv_is_whole =
      row.collective == Collective::allgather || row.collective == Collective::gather;
  call.send = recv_is_whole ? block : whole;
  call.recv = send_is_whole ? block : whole;
  return call;
}

std::vector<Case> make_cases(const Options& options, std::uint32_t ranks) {
  std::vector<Case> cases;
  const std::vector<ReduceOp> ops =
      has_operation(options.collective) ? options.ops : std::vector{ReduceOp::sum};
  const std::vector<DataType> types =
      options.collective == Collective::barrier ? std::vector{DataType::uint8} : options.types;
  const std::vector<std::uint64_t> all_sizes = sizes(options);
  const std::vector<Rank> all_roots = roots(options, ranks);
  if (types.size() * ops.size() * all_roots.size() * all_sizes.size() > most_rows) {
    fail(ErrorKind::invalid_argument, "more than {} rows; give fewer types, roots or sizes",
         most_rows);
  }
  for (const DataType type : types) {
    for (const ReduceOp op : ops) {
      for (std::size_t i = 0; i < all_roots.size() * all_sizes.size(); ++i) {
        const std::uint64_t size = all_sizes[i % all_sizes.size()];
        cases.push_back({options.collective,
                         type,
                         op,
                         all_roots[i / all_sizes.size()],
                         {count_for(options, type, size, ranks)},
                         {}});
      }
    }
  }
  return cases;
}

}  // namespace accl::perf
