// layout.h - where the chunks of a plan lie in the user's memory, slice by slice.
//
// Two shapes of data (algorithms/catalog.h):
//   whole   allreduce, reduce, broadcast, sendrecv, barrier: the vector is cut into consecutive
//           slices, each slice into near-equal chunks, so a slice is contiguous.
//   blocks  the rest: one block per rank at a given place, each cut into near-equal chunks, each
//           chunk into pieces; slice s is piece s of every chunk.
// Near-equal: as accl/base/near_equal.h cuts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "accl/base/ids.h"
#include "accl/base/near_equal.h"
#include "algorithms/plan.h"

namespace accl {

class Layout {
 public:
  // A vector of `elements`; slices whose chunks have at most `piece_elements` each.
  static Layout whole(std::size_t elements, std::uint32_t chunks, std::size_t piece_elements);

  // Blocks of `elements` each, block of rank r at r * elements; `order` maps position to rank and
  // must outlive the layout (empty: the same).
  static Layout blocks(std::size_t elements, std::uint32_t chunks, std::uint32_t ranks,
                       std::size_t piece_elements, std::span<const Rank> order);

  // Blocks of their own sizes and places, one chunk each.
  static Layout extents(std::span<const std::size_t> counts, std::span<const std::size_t> offsets,
                        std::size_t piece_elements, std::span<const Rank> order);

  std::uint32_t slices() const { return slices_; }

  Range piece(std::uint32_t chunk, std::uint32_t slice) const {
    return is_whole_ ? piece_of_whole(chunk, slice) : piece_of_block(chunk, slice);
  }

  // Neighbouring chunks of a slice are neighbours in memory.
  bool is_whole() const { return is_whole_; }

  // Elements in the largest piece: what a scratch chunk must hold.
  std::size_t largest_piece() const { return largest_piece_; }

 private:
  Range piece_of_whole(std::uint32_t chunk, std::uint32_t slice) const {
    const std::size_t begin = slice * slice_;
    const std::size_t left = elements_ - begin;
    const Range range = near_equal(left < slice_ ? left : slice_, chunks_, chunk);
    return {begin + range.begin, range.count};
  }
  Range piece_of_block(std::uint32_t chunk, std::uint32_t slice) const;

  bool is_whole_ = true;
  std::uint32_t chunks_ = 1;  // In the vector, or in a block.
  std::uint32_t slices_ = 1;
  std::size_t elements_ = 0;  // In the vector, or in a block.
  std::size_t slice_ = 0;     // Elements in a slice of the vector, or in a piece of a chunk.
  std::size_t largest_piece_ = 0;
  std::span<const Rank> order_;
  std::span<const std::size_t> counts_, offsets_;
};

}  // namespace accl
