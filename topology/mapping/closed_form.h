// closed_form.h - the maps that are known without a search (HDRM).
//
// Let every step of halving-doubling flip one bit of the position. Put positions of even bit count
// on the upper layer and of odd bit count on the lower: then every step crosses between the layers,
// over one cable. Of position r, q = r / 2 names a pair of one upper and one lower place. With N =
// 2^k positions, U upper and L lower switches of equal fill (powers of two all), the upper switch
// is the top log2(U) bits of q, the lower switch its bottom log2(L) bits. A step that flips bit m
// of q sends from upper(q) to lower(q ^ m), and the pair (upper(q), lower(q)) is a one-to-one image
// of the bits that it covers, moved by a constant; so a pair of switches meets as many messages as
// there are values of the bits that neither covers. These bits are the lane: K cables a pair
// suffice when U * L * K >= N / 2, and nothing less would do, as N / 2 hosts above send at once.
//
// For N = 2f * 2^m with f odd: a ring of 2f (alternating layers) times m exchanges.
//
// On a leaf-spine, positions go leaf by leaf and the lane (the spine) is the place at the leaf: the
// messages of a step go from one leaf to one leaf, each over a spine of its own.
#pragma once

#include <optional>

#include "topology/mapping/problem.h"

namespace accl::topology {

struct ClosedForm {
  std::vector<std::uint32_t> unit_order;  // By k: the unit at positions [k * width, ...).
  std::vector<std::uint32_t> lanes;       // By unit place.
  std::string name;
};

// None on a BiGraph where the switches in use are not filled evenly, counts are no powers of two
// (times the odd factor), or cables do not suffice.
std::optional<ClosedForm> closed_form(const Problem& problem);

}  // namespace accl::topology
