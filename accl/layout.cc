#include "accl/layout.h"

#include <algorithm>

namespace accl {
namespace {

std::size_t divide_up(std::size_t a, std::size_t b) { return (a + b - 1) / b; }

}  // namespace

Layout Layout::whole(std::size_t elements, std::uint32_t chunks, std::size_t piece_elements) {
  Layout layout;
  layout.chunks_ = chunks;
  layout.elements_ = elements;
  layout.slice_ = std::max<std::size_t>(1, std::min(elements, piece_elements * chunks));
  layout.slices_ = static_cast<std::uint32_t>(divide_up(elements, layout.slice_));
  layout.largest_piece_ = divide_up(layout.slice_, chunks);
  return layout;
}

Layout Layout::blocks(std::size_t elements, std::uint32_t chunks, std::uint32_t ranks,
                      std::size_t piece_elements, std::span<const Rank> order) {
  Layout layout;
  layout.is_whole_ = false;
  layout.chunks_ = chunks / ranks;
  layout.elements_ = elements;
  const std::size_t longest = divide_up(elements, layout.chunks_);
  layout.slice_ = std::max<std::size_t>(1, std::min(longest, piece_elements));
  layout.slices_ = static_cast<std::uint32_t>(divide_up(longest, layout.slice_));
  layout.largest_piece_ = layout.slice_;
  layout.order_ = order;
  return layout;
}

Layout Layout::extents(std::span<const std::size_t> counts, std::span<const std::size_t> offsets,
                       std::size_t piece_elements, std::span<const Rank> order) {
  Layout layout;
  layout.is_whole_ = false;
  layout.slice_ = std::max<std::size_t>(1, piece_elements);
  const std::size_t longest = counts.empty() ? 0 : *std::ranges::max_element(counts);
  layout.slices_ = static_cast<std::uint32_t>(divide_up(longest, layout.slice_));
  layout.largest_piece_ = std::min(longest, layout.slice_);
  layout.order_ = order;
  layout.counts_ = counts;
  layout.offsets_ = offsets;
  return layout;
}

Range Layout::piece_of_block(std::uint32_t chunk, std::uint32_t slice) const {
  const std::uint32_t position = chunk / chunks_;
  const std::size_t rank = order_.empty() ? position : index(order_[position]);
  const bool own_sizes = !counts_.empty();
  const Range of_block =
      near_equal(own_sizes ? counts_[rank] : elements_, chunks_, chunk % chunks_);
  const std::size_t block = own_sizes ? offsets_[rank] : rank * elements_;
  const std::size_t begin = std::min(slice * slice_, of_block.count);
  return {block + of_block.begin + begin, std::min(slice_, of_block.count - begin)};
}

}  // namespace accl
