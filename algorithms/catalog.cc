#include "algorithms/catalog.h"

#include <algorithm>
#include <array>
#include <bit>

#include "algorithms/families.h"

namespace accl {
namespace {

using C = Collective;

bool every_shape(const Shape&) { return true; }
// A grid of exchanges needs an even number of positions; an odd one has a whole ring in it.
bool even_size(const Shape& shape) { return shape.size == 1 || shape.size % 2 == 0; }
bool whole_hosts(const Shape& shape) { return shape.width > 0 && shape.size % shape.width == 0; }

std::uint32_t one_chunk(const Shape&) { return 1; }
std::uint32_t two_chunks(const Shape&) { return 2; }
std::uint32_t chunk_each(const Shape& shape) { return shape.size; }

// Chunks in the largest message of any position.
std::uint32_t one_at_most(const Shape&) { return 1; }
// A grid with exchanges besides its ring sends half of the vector first.
std::uint32_t of_grid(const Shape& shape) { return shape.size % 4 == 0 ? shape.size / 2 : 1; }
// With the near distance first it begins with the ring, of the odd part times two.
std::uint32_t of_exchanges(const Shape& shape) {
  const int twos = std::countr_zero(shape.size);
  if (shape.first == First::far) return of_grid(shape);
  return twos == 0 ? 1 : 1u << (twos - 1);
}
std::uint32_t of_halving_doubling(const Shape& shape) {
  const bool is_folded = shape.size % 2 == 1;  // The folded partners move whole vectors.
  return is_folded ? families::halving_doubling_chunks(shape) : of_exchanges(shape);
}
std::uint32_t of_two_level(const Shape& shape) {
  return shape.width > 1 ? shape.size / shape.width : of_exchanges(shape);
}
// Rounds of 1, 2, 4, ... chunks, the last of what is left.
std::uint32_t of_circulant(const Shape& shape) {
  if (shape.size < 3) return 1;
  const std::uint32_t last = std::bit_floor(shape.size - 1);
  return std::max(last / 2, shape.size - last);
}
std::uint32_t of_store_and_forward(const Shape& shape) { return std::max(1u, shape.size / 2); }

// n positions, D bytes in the whole vector. Bytes are what the busiest position sends.
constexpr std::array table{
    Algorithm{"ring", C::allreduce,
              "reduce-scatter and allgather round a ring: 2(n-1) rounds, 2D(n-1)/n bytes",
              every_shape, chunk_each, one_at_most, families::allreduce_ring},
    Algorithm{"hd", C::allreduce,
              "halving-doubling: 2 log2(n) rounds, 2D(n-1)/n bytes; even n: a ring of 2f times "
              "exchanges; odd n: folded to a power of two, 2D more",
              every_shape, families::halving_doubling_chunks, of_halving_doubling,
              families::allreduce_halving_doubling},
    Algorithm{"bruck", C::allreduce,
              "circulant reduce-scatter and Bruck allgather: 2 ceil(log2 n) rounds, 2D(n-1)/n "
              "bytes for every n",
              every_shape, chunk_each, of_circulant, families::allreduce_bruck},
    Algorithm{"tree", C::allreduce,
              "double binary tree, each half of the vector up and down one: about 4 log2(n) "
              "rounds, at most 2D bytes",
              every_shape, two_chunks, one_at_most, families::allreduce_double_tree},
    Algorithm{"rd", C::allreduce,
              "recursive doubling of whole vectors: log2(n) rounds, D log2(n) bytes; for small "
              "messages",
              every_shape, one_chunk, one_at_most, families::allreduce_recursive_doubling},
    Algorithm{"oneshot", C::allreduce,
              "all vectors to everyone, added everywhere: 1 round, D(n-1) bytes; for tiny messages",
              every_shape, one_chunk, one_at_most, families::allreduce_one_shot},
    Algorithm{"twolevel", C::allreduce,
              "reduce-scatter inside a host, one allreduce per lane across hosts, allgather "
              "inside: D/width bytes leave each lane",
              whole_hosts, chunk_each, of_two_level, families::allreduce_two_level},

    Algorithm{"ring", C::reduce_scatter, "round a ring: n-1 rounds, D(n-1)/n bytes", every_shape,
              chunk_each, one_at_most, families::reduce_scatter_ring},
    Algorithm{"hd", C::reduce_scatter,
              "recursive halving: log2(n) rounds, D(n-1)/n bytes; even n only", even_size,
              chunk_each, of_grid, families::reduce_scatter_halving},
    Algorithm{"bruck", C::reduce_scatter,
              "circulant: ceil(log2 n) rounds, D(n-1)/n bytes for every n", every_shape, chunk_each,
              of_circulant, families::reduce_scatter_bruck},
    Algorithm{"pairwise", C::reduce_scatter,
              "every block straight to its owner, 8 at a time: D(n-1)/n bytes", every_shape,
              chunk_each, one_at_most, families::reduce_scatter_pairwise},

    Algorithm{"ring", C::allgather, "round a ring: n-1 rounds, D(n-1)/n bytes", every_shape,
              chunk_each, one_at_most, families::allgather_ring},
    Algorithm{"hd", C::allgather, "recursive doubling: log2(n) rounds, D(n-1)/n bytes; even n only",
              even_size, chunk_each, of_grid, families::allgather_doubling},
    Algorithm{"bruck", C::allgather, "Bruck: ceil(log2 n) rounds, D(n-1)/n bytes for every n",
              every_shape, chunk_each, of_circulant, families::allgather_bruck},
    Algorithm{"direct", C::allgather, "the own block straight to everyone, 8 at a time",
              every_shape, chunk_each, one_at_most, families::allgather_direct},

    Algorithm{"tree", C::broadcast, "binomial tree: ceil(log2 n) rounds; for small messages",
              every_shape, one_chunk, one_at_most, families::broadcast_binomial},
    Algorithm{"chain", C::broadcast,
              "down a line, slices behind each other: everyone sends D once; for large messages",
              every_shape, one_chunk, one_at_most, families::broadcast_chain},
    Algorithm{"scatter_ring", C::broadcast,
              "one chunk dealt to each, then an allgather round a ring: everyone but the root "
              "sends D once",
              every_shape, chunk_each, one_at_most, families::broadcast_scatter_ring},

    Algorithm{"tree", C::reduce, "binomial tree: ceil(log2 n) rounds; for small messages",
              every_shape, one_chunk, one_at_most, families::reduce_binomial},
    Algorithm{"ring", C::reduce,
              "reduce-scatter round a ring, then each sends its chunk to the root: D bytes",
              every_shape, chunk_each, one_at_most, families::reduce_ring},

    Algorithm{"bruck", C::alltoall,
              "store and forward in ceil(log2 n) rounds, about D/2 bytes each; for small blocks, "
              "all of one size",
              every_shape, chunk_each, of_store_and_forward, families::alltoall_bruck},
    Algorithm{"pairwise", C::alltoall, "every block straight to its owner, 8 at a time",
              every_shape, chunk_each, one_at_most, families::alltoall_pairwise},
    // Blocks of different sizes cannot take turns in the slots of "bruck".
    Algorithm{"pairwise", C::alltoallv, "every block straight to its owner, 8 at a time",
              every_shape, chunk_each, one_at_most, families::alltoall_pairwise},

    Algorithm{"tree", C::gather, "binomial tree: ceil(log2 n) rounds; for small blocks",
              every_shape, chunk_each, of_circulant, families::gather_binomial},
    Algorithm{"direct", C::gather, "every block straight to the root", every_shape, chunk_each,
              one_at_most, families::gather_direct},
    Algorithm{"tree", C::scatter, "binomial tree: ceil(log2 n) rounds; for small blocks",
              every_shape, chunk_each, of_circulant, families::scatter_binomial},
    Algorithm{"direct", C::scatter, "every block straight from the root", every_shape, chunk_each,
              one_at_most, families::scatter_direct},

    Algorithm{"direct", C::sendrecv, "to the next position, from the one before", every_shape,
              one_chunk, one_at_most, families::sendrecv_direct},
    Algorithm{"dissemination", C::barrier,
              "hear from twice as many each round: ceil(log2 n) rounds", every_shape, one_chunk,
              one_at_most, families::barrier_dissemination},
};

}  // namespace

std::span<const Algorithm> algorithms() { return table; }

const Algorithm* find_algorithm(Collective collective, std::string_view name) {
  for (const Algorithm& algorithm : table) {
    if (algorithm.collective == collective && algorithm.name == name) return &algorithm;
  }
  return nullptr;
}

std::string algorithm_names(Collective collective) {
  std::string names;
  for (const Algorithm& algorithm : table) {
    if (algorithm.collective != collective) continue;
    if (!names.empty()) names += ", ";
    names += algorithm.name;
  }
  return names;
}

}  // namespace accl
