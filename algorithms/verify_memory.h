// verify_memory.h - the memory of one position in the verifier's run on symbols. It is a table:
// rows are input, output and the layers of scratch, columns are chunk numbers modulo the plan's
// chunks. A row is as wide as what is used of it, since a layer of scratch often holds one chunk.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "algorithms/verify.h"

namespace accl::verify {

// Which rows a position has, and which columns of them it uses.
class Layout {
 public:
  struct Row {
    std::uint32_t begin = 0;  // Columns.
    std::uint32_t end = 0;
  };

  Layout(const PlanSet& plan, std::uint32_t position);

  const std::vector<Row>& rows() const { return rows_; }
  std::size_t row_of(const Slice& slice, bool in_place) const;
  std::uint64_t cell_count() const;

 private:
  void widen(Row& row, const Slice& slice) const;

  std::uint32_t chunks_;
  std::vector<std::uint32_t> layers_;  // Ascending; layer i is row i + 2.
  std::vector<Row> rows_;              // Input and output first, both as wide as either.
};

// The cells of the columns [begin, end) of all rows.
template <class Cell>
class Memory {
 public:
  Memory(const Layout& layout, std::uint32_t chunks, bool in_place, std::uint32_t begin,
         std::uint32_t end)
      : layout_(&layout), chunks_(chunks), in_place_(in_place), begin_(begin), end_(end) {
    std::size_t count = 0;
    for (const Layout::Row& row : layout.rows()) {
      offsets_.push_back(count);
      const std::uint32_t first = std::max(row.begin, begin);
      count += std::max(std::min(row.end, end), first) - first;
    }
    cells_.resize(count);
  }

  // Those of a slice, so far as it lies in these columns.
  std::span<Cell> at(const Slice& slice) {
    const std::uint32_t column = slice.chunk % chunks_;
    const std::uint32_t first = std::max(column, begin_);
    const std::uint32_t last = std::min(column + slice.count, end_);
    if (first >= last) return {};
    const std::size_t row = layout_->row_of(slice, in_place_);
    const std::uint32_t row_first = std::max(layout_->rows()[row].begin, begin_);
    return std::span(cells_).subspan(offsets_[row] + first - row_first, last - first);
  }

  const std::vector<Cell>& all() const { return cells_; }

 private:
  const Layout* layout_;
  std::uint32_t chunks_;
  bool in_place_;
  std::uint32_t begin_;
  std::uint32_t end_;
  std::vector<std::size_t> offsets_;  // Of rows.
  std::vector<Cell> cells_;
};

}  // namespace accl::verify
