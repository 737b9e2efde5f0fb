// workload.h - the gradient tensors of a model in the order its backward pass makes them, and the
// allreduces of one training iteration: one per tensor, or one per fusion buffer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "bench/perf/cases.h"
#include "bench/perf/options.h"

namespace accl::perf {

struct Tensor {
  std::string name;
  std::size_t elements = 0;
};

// A file of configs/workloads: lines "name,elements" in backward order, "#" comments, a title line
// "name,elements". Throws Error(invalid_argument) that names file and line.
std::vector<Tensor> read_workload(const std::string& path);

// Element counts of fusion buffers: tensors in order, each buffer at most `limit` elements; a
// larger tensor has a buffer of its own.
std::vector<std::size_t> fuse(const std::vector<Tensor>& tensors, std::size_t limit);

// Two rows per type and operation: tensor by tensor, and fused.
std::vector<Case> make_workload_cases(const Options& options);

}  // namespace accl::perf
