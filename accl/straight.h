// straight.h - a small call as a straight line: every address, length, lane and kernel of its
// operations worked out once, when a call of this shape is first made. Running it then is a walk
// over an array, with no layout, no slices and no memory to get. What it sends and receives is what
// the executor would, so ranks may differ in who runs straight.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "accl/binding.h"
#include "accl/communicator.h"

namespace accl {

struct Route;

// Messages of a straight call have at most this many bytes; larger calls gain from slices, from
// writing results into rings directly, and do not feel what is saved here.
constexpr std::uint32_t straight_bytes = 8192;

class Straight {
 public:
  // Flattens one call. Null where it does not fit: several slices, sizes that each call brings anew
  // (alltoallv), a scaled or divided input, or larger messages.
  static std::unique_ptr<Straight> make(const Call& call, Route& route, const Binding& binding,
                                        std::uint64_t shape);

  // Whether this call differs from the one it was made from in nothing but its buffers.
  bool is_of(const Call& call) const;
  Route& route() const { return *route_; }
  std::uint64_t shape() const { return shape_; }  // What make() was given.

  void begin(const void* send, void* recv, std::uint32_t tag);
  // As Executor's.
  bool advance();
  bool is_done() const { return at_ == steps_.size(); }
  std::uint32_t blocked_on() const { return blocked_on_; }
  bool is_mismatch() const { return is_mismatch_; }

 private:
  struct Source {
    Lane* lane = nullptr;  // Where a message comes from; null: memory.
    std::uint32_t peer = 0;
    std::uint32_t buffer = 0;
    std::size_t offset = 0;
  };
  struct Step {
    bool has_target = false;
    bool is_reduce = false;
    std::uint32_t bytes = 0;
    std::uint32_t count = 0;  // Elements.
    std::uint32_t buffer = 0;
    std::size_t offset = 0;
    Source a, b;
    std::uint32_t sends_begin = 0, sends_end = 0;
  };
  struct Send {
    Lane* lane = nullptr;
    std::uint32_t peer = 0;
  };

  Straight(const Call& call, Route& route, std::uint64_t shape)
      : call_(call), route_(&route), shape_(shape) {}
  bool flatten(const Binding& binding);
  bool add(const Binding& binding, const Operation& operation);
  Source source(const Binding& binding, const Operand& operand) const;
  std::size_t offset_of(const Binding& binding, const Slice& slice) const;
  bool compute(const Step& step);
  bool find(const Step& step, const Source& source, const std::byte*& data);
  bool send(const Step& step);
  bool put(const Step& step, Lane& to);
  std::byte* at(std::uint32_t buffer, std::size_t offset) const {
    // Offsets may start before a user's array, as in Binding.
    return reinterpret_cast<std::byte*>(bases_[buffer] + offset);
  }

  Call call_;
  Route* route_;
  std::uint64_t shape_;
  std::vector<Step> steps_;
  std::vector<Send> sends_;
  ReduceKernel kernel_ = nullptr;
  std::vector<std::byte> scratch_;
  std::array<std::uintptr_t, 3> bases_{};         // By Buffer.
  bool needs_send_ = false, needs_recv_ = false;  // Steps touch the user's buffer.

  std::uint32_t tag_ = 0;
  std::size_t at_ = 0;
  std::uint32_t next_send_ = 0;
  bool is_computed_ = false;  // Only sends are left of the step.
  std::uint32_t blocked_on_ = 0;
  bool is_mismatch_ = false;
};

// The straight calls of a communicator, found by shape.
class Straights {
 public:
  Straight* find(const Call& call) const {
    Straight* const known = known_[place_of(call)].get();
    return known != nullptr && known->is_of(call) ? known : nullptr;
  }
  // Takes the place of another that has the same.
  Straight* add(const Call& call, std::unique_ptr<Straight> straight);

 private:
  static constexpr std::size_t places = 64;
  static std::size_t place_of(const Call& call);

  std::array<std::unique_ptr<Straight>, places> known_;
};

}  // namespace accl
