#include "bench/perf/workload.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>

#include "accl/base/error.h"
#include "accl/base/units.h"
#include "bench/perf/flags.h"

namespace accl::perf {
namespace {

constexpr std::int64_t most_elements = std::int64_t{1} << 40;

Tensor parse_line(const std::string& path, std::size_t number, const std::string& line) {
  const std::size_t comma = line.rfind(',');
  const std::string where = fmt::format("--workload {}, line {}:", path, number);
  if (comma == std::string::npos || comma == 0) {
    fail(ErrorKind::invalid_argument, "{} '{}': write name,elements", where, line);
  }
  const std::int64_t elements = whole_number(where, line.substr(comma + 1), 1, most_elements);
  return {line.substr(0, comma), static_cast<std::size_t>(elements)};
}

}  // namespace

std::vector<Tensor> read_workload(const std::string& path) {
  std::ifstream file(path);
  if (!file || std::filesystem::is_directory(path)) {
    fail(ErrorKind::invalid_argument,
         "--workload {}: cannot be read; give a file like configs/workloads/resnet50.csv", path);
  }
  std::vector<Tensor> tensors;
  std::string line;
  for (std::size_t number = 1; std::getline(file, line); ++number) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty() || line.front() == '#' || line == "name,elements") continue;
    tensors.push_back(parse_line(path, number, line));
  }
  if (tensors.empty()) {
    fail(ErrorKind::invalid_argument, "--workload {}: no tensors in it; write lines name,elements",
         path);
  }
  return tensors;
}

std::vector<std::size_t> fuse(const std::vector<Tensor>& tensors, std::size_t limit) {
  std::vector<std::size_t> buffers;
  for (const Tensor& tensor : tensors) {
    const bool fits = !buffers.empty() && buffers.back() + tensor.elements <= limit;
    if (fits) {
      buffers.back() += tensor.elements;
    } else {
      buffers.push_back(tensor.elements);
    }
  }
  return buffers;
}

std::vector<Case> make_workload_cases(const Options& options) {
  const std::vector<Tensor> tensors = read_workload(options.workload_path);
  const std::string model = std::filesystem::path(options.workload_path).stem();
  std::vector<std::size_t> singles;
  std::ranges::transform(tensors, std::back_inserter(singles), &Tensor::elements);
  std::vector<Case> cases;
  for (const DataType type : options.types) {
    for (const ReduceOp op : options.ops) {
      const std::size_t limit = std::max<std::size_t>(options.fusion_bytes / size_of(type), 1);
      cases.push_back({options.collective, type, op, Rank{}, singles,
                       fmt::format("{} tensor by tensor", model)});
      cases.push_back({options.collective, type, op, Rank{}, fuse(tensors, limit),
                       fmt::format("{} fused to {}", model, format_bytes(options.fusion_bytes))});
    }
  }
  return cases;
}

}  // namespace accl::perf
