// calls.h - what a Call means: whether its arguments can be, how its data is laid out in blocks or
// as one vector, and whether it is in place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "accl/communicator.h"

namespace accl {

// Throws Error(invalid_argument) that names the argument.
void validate(const Call& call, std::uint32_t size, Rank self);

// Whether the calls are the same in all that binding them depends on (not alltoallv's lists).
bool is_same(const Call& a, const Call& b);

// No rank has anything to move: every rank knows that from its own arguments.
bool is_nothing(const Call& call);

// The largest buffer of the call in bytes: what selection goes by.
std::size_t call_bytes(const Call& call, std::uint32_t size);

// Whether the caller's buffers, where this rank has a use for them, meet any of these bytes.
bool uses(const Call& call, std::uint32_t size, Rank self, std::span<const std::byte> memory);

// Data comes in one block per rank (else as one vector).
bool is_blocks(Collective collective);
bool is_reduction(Collective collective);
bool has_root(Collective collective);

// Element 0 of the layout of input and output: block 0 may lie outside what the caller gave, where
// only the own block is there.
std::byte* input_base(const Call& call, Rank self);
std::byte* output_base(const Call& call, Rank self);

}  // namespace accl
