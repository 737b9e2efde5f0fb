// binding.h - one call: a program bound to the user's memory, the lanes it talks over, and how data
// is cut and computed.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "accl/base/types.h"
#include "accl/kernels/kernels.h"
#include "accl/lane.h"
#include "accl/layout.h"
#include "accl/program.h"

namespace accl {

constexpr std::uint32_t most_lanes = 4;

// All lanes to one peer.
struct PeerLanes {
  Rank rank{};
  std::uint32_t width = 0;
  std::array<Lane, most_lanes> lanes;
};

// A user buffer, and how peers of this host may look at it (accl_alloc memory only).
struct UserBuffer {
  std::byte* base = nullptr;  // Where element 0 of the layout lies, or would lie.
  bool is_shared = false;
  RegionKey key{};
  const std::byte* region = nullptr;  // First byte of the shared region.
};

// What is done to each element of the input before it takes part.
struct Scaling {
  bool is_on = false;
  double factor = 1;
  std::int64_t integer_factor = 1;
};

// One call: a program bound to memory.
struct Binding {
  const Program* program = nullptr;
  std::span<PeerLanes* const> peers;  // By number in the program.
  Layout input_layout, output_layout;
  UserBuffer input, output;
  bool is_in_place = false;  // Input and output are the same memory.
  DataType type{};
  ReduceKernel kernel = nullptr;
  Scaling scaling;
  std::uint32_t divide_by = 0;  // Integer average: what the output is divided by at the end.
  Slice divided;                // Chunks of output that hold results here.
  Store store = Store::cached;  // For output that nobody reads again soon.
  std::uint32_t tag = 0;        // In every message; peers that are in another call have another.
  std::uint32_t width = 1;      // Slices in flight.
};

}  // namespace accl
