// program.h - a plan's list made ready to run: sends joined to the step that makes their data,
// received scratch read where it lies, peers numbered, and for every write the earlier sends whose
// source it would overwrite. Sizes are still chunks; one program serves every call of its shape.
#pragma once

#include <cstdint>
#include <vector>

#include "algorithms/catalog.h"
#include "algorithms/plan.h"

namespace accl {

// Where an operation reads.
struct Operand {
  enum class Kind : std::uint8_t { none, local, message };
  Kind kind = Kind::none;
  Slice slice;             // local: where. message: as large as this.
  std::uint32_t peer = 0;  // message: number in Program::peers.
};

// target = a, or target = a op b; then the result goes to the peers of `sends`.
// An operation without a target sends `a`, which is local then.
struct Operation {
  static constexpr std::uint32_t never = 0xffffffff;

  bool is_reduce = false;
  bool has_target = false;
  bool is_read_again = false;  // A later operation of this list reads the target from memory.
  // It only puts a message in its place, and nothing from this operation of the list on until then
  // reads, writes or sends what lies there. never: it does more.
  std::uint32_t free_from = never;
  Slice target;
  Operand a, b;
  std::uint32_t sends_begin = 0, sends_end = 0;    // In Program::sends.
  std::uint32_t drains_begin = 0, drains_end = 0;  // In Program::drains.
};

struct Program {
  std::vector<Operation> operations;
  std::vector<Position> peers;         // By first use.
  std::vector<std::uint32_t> sends;    // Peer numbers.
  std::vector<std::uint32_t> drains;   // Indices of `sends` that must have left before the write.
  std::vector<bool> is_overwritten;    // By send: a later operation writes what it reads.
  std::vector<std::uint32_t> scratch;  // Scratch chunks that need memory, by scratch_place.
  std::vector<std::uint32_t> scratch_place;  // Scratch chunk -> index in `scratch`, or no_place.
  std::uint32_t chunks = 1;
  std::uint32_t largest = 1;  // Chunks in the largest message of any position.

  static constexpr std::uint32_t no_place = 0xffffffff;
};

Program lower(const Algorithm& algorithm, const Shape& shape, Position position);

// The same for steps made by hand (point to point), of `chunks` chunks with one-chunk messages.
Program lower(const std::vector<Step>& steps, std::uint32_t chunks);

}  // namespace accl
