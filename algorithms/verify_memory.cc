#include "algorithms/verify_memory.h"

#include "accl/base/assert.h"
#include "algorithms/verify_parts.h"

namespace accl::verify {
namespace {

template <class Use>
void for_slices(const std::vector<Step>& steps, Use use) {
  for (const Step& step : steps) {
    if (writes_target(step)) use(step.target);
    if (reads_source(step)) use(step.source);
    if (step.kind == Step::Kind::reduce) use(step.other);
  }
}

}  // namespace

Layout::Layout(const PlanSet& plan, std::uint32_t position) : chunks_(plan.chunks) {
  const std::vector<Step>& steps = plan.positions[position];
  for_slices(steps, [&](const Slice& slice) {
    if (slice.buffer == Buffer::scratch) layers_.push_back(slice.chunk / chunks_);
  });
  std::ranges::sort(layers_);
  layers_.erase(std::unique(layers_.begin(), layers_.end()), layers_.end());
  rows_.assign(layers_.size() + 2, Row{.begin = chunks_, .end = 0});
  for_slices(steps, [&](const Slice& slice) { widen(rows_[row_of(slice, false)], slice); });
  for (const Buffer buffer : {Buffer::input, Buffer::output}) {
    widen(rows_[0], granted(plan.collective, plan.shape, plan.chunks, Position{position}, buffer));
  }
  // In place the two are one row.
  rows_[0].begin = std::min(rows_[0].begin, rows_[1].begin);
  rows_[0].end = std::max(rows_[0].end, rows_[1].end);
  rows_[1] = rows_[0];
}

std::size_t Layout::row_of(const Slice& slice, bool in_place) const {
  if (slice.buffer == Buffer::input) return 0;
  if (slice.buffer == Buffer::output) return in_place ? 0 : 1;
  const auto found = std::ranges::lower_bound(layers_, slice.chunk / chunks_);
  ACCL_ASSERT(found != layers_.end(), slice.chunk);
  return 2 + static_cast<std::size_t>(found - layers_.begin());
}

std::uint64_t Layout::cell_count() const {
  std::uint64_t count = 0;
  for (const Row& row : rows_) count += std::max(row.end, row.begin) - row.begin;
  return count;
}

void Layout::widen(Row& row, const Slice& slice) const {
  if (slice.count == 0) return;
  const std::uint32_t column = slice.chunk % chunks_;
  row.begin = std::min(row.begin, column);
  row.end = std::max(row.end, column + slice.count);
}

}  // namespace accl::verify
