#include "algorithms/verify.h"

#include <fmt/format.h>

#include <unordered_map>

#include "accl/base/assert.h"
#include "algorithms/verify_parts.h"

namespace accl {
namespace verify {
namespace {

bool inside(const Slice& inner, const Slice& outer) {
  return inner.count > 0 && inner.chunk >= outer.chunk &&
         std::uint64_t{inner.chunk} + inner.count <= std::uint64_t{outer.chunk} + outer.count;
}

// Scratch has as many layers as a plan wants, but no slice goes from one to the next.
bool in_one_layer(const Slice& slice, std::uint32_t chunks) {
  return slice.count > 0 && std::uint64_t{slice.chunk % chunks} + slice.count <= chunks;
}

// alltoall moves chunk b of one position to chunk a of another; for the sizes see verify.h.
bool has_own_extents(Collective collective) {
  return collective == Collective::alltoall || collective == Collective::alltoallv;
}

class ShapeCheck {
 public:
  ShapeCheck(const PlanSet& plan, std::uint32_t position)
      : plan_(plan), position_(position), same_size_(!has_own_extents(plan.collective)) {}

  Fault check(const Step& step) const {
    if (reads_source(step) && !lies_well(step.source, position_))
      return "source outside its buffer";
    if (step.kind == Step::Kind::reduce && !lies_well(step.other, position_)) {
      return "other source outside its buffer";
    }
    if (is_message(step)) {
      if (index(step.peer) >= plan_.shape.size) return "no such peer";
      if (index(step.peer) == position_) return "a message to itself";
    }
    if (step.target.buffer == Buffer::input) return "writes the input";
    const bool send = step.kind == Step::Kind::send;
    if (!lies_well(step.target, send ? index(step.peer) : position_)) {
      return "target outside its buffer";
    }
    if (reads_source(step) && !alike(step.source, step.target)) {
      return "source and target differ in size";
    }
    if (step.kind == Step::Kind::reduce && !alike(step.other, step.target)) {
      return "other source and target differ in size";
    }
    return {};
  }

 private:
  bool lies_well(const Slice& slice, std::uint32_t position) const {
    if (slice.buffer == Buffer::scratch) {
      return plan_.collective != Collective::alltoallv && in_one_layer(slice, plan_.chunks);
    }
    return inside(slice, granted(plan_.collective, plan_.shape, plan_.chunks, Position{position},
                                 slice.buffer));
  }
  bool alike(const Slice& one, const Slice& other) const {
    if (one.count != other.count) return false;
    return !same_size_ || one.chunk % plan_.chunks == other.chunk % plan_.chunks;
  }

  const PlanSet& plan_;
  std::uint32_t position_;
  bool same_size_;
};

}  // namespace

std::string where(std::uint32_t position, std::uint32_t step) {
  return fmt::format("position {} step {}: ", position, step);
}

Fault find_shape_fault(const PlanSet& plan, std::uint32_t position) {
  const ShapeCheck check(plan, position);
  const std::vector<Step>& steps = plan.positions[position];
  for (std::uint32_t number = 0; number < steps.size(); ++number) {
    if (const Fault fault = check.check(steps[number])) return where(position, number) + *fault;
  }
  return {};
}

Fault find_mismatch(const Step& send, const Step& recv) {
  if (send.target == recv.target) return {};
  if (send.target.count != recv.target.count) return "sends and receives different counts";
  return "sends to a slice that the receiver does not expect";
}

Fault find_pairing_fault(const PlanSet& plan, Wiring& wiring) {
  const auto size = static_cast<std::uint32_t>(plan.positions.size());
  std::unordered_map<std::uint64_t, std::uint32_t> numbers;
  wiring.channel_of.resize(size);
  for (std::uint32_t position = 0; position < size; ++position) {
    const std::vector<Step>& steps = plan.positions[position];
    wiring.channel_of[position].resize(steps.size());
    for (std::uint32_t number = 0; number < steps.size(); ++number) {
      const Step& step = steps[number];
      if (!is_message(step)) continue;
      const bool send = step.kind == Step::Kind::send;
      const std::uint32_t from = send ? position : index(step.peer);
      const std::uint32_t to = send ? index(step.peer) : position;
      const auto fresh = static_cast<std::uint32_t>(wiring.channels.size());
      const auto [found, added] = numbers.try_emplace(std::uint64_t{from} << 32 | to, fresh);
      if (added) wiring.channels.push_back({.from = from, .to = to, .sends = {}, .recvs = {}});
      Channel& channel = wiring.channels[found->second];
      (send ? channel.sends : channel.recvs).push_back(number);
      wiring.channel_of[position][number] = found->second;
    }
  }
  for (const Channel& channel : wiring.channels) {
    const std::size_t met = std::min(channel.sends.size(), channel.recvs.size());
    for (std::size_t message = 0; message < met; ++message) {
      const Fault fault = find_mismatch(plan.positions[channel.from][channel.sends[message]],
                                        plan.positions[channel.to][channel.recvs[message]]);
      if (!fault) continue;
      return where(channel.from, channel.sends[message]) + *fault +
             fmt::format(" (position {} step {})", channel.to, channel.recvs[message]);
    }
    if (channel.sends.size() > met) {
      return where(channel.from, channel.sends[met]) +
             fmt::format("position {} never receives this", channel.to);
    }
    if (channel.recvs.size() > met) {
      return where(channel.to, channel.recvs[met]) +
             fmt::format("position {} never sends this", channel.from);
    }
  }
  return {};
}

}  // namespace verify

std::size_t PlanSet::step_count() const {
  std::size_t count = 0;
  for (const std::vector<Step>& steps : positions) count += steps.size();
  return count;
}

std::vector<Step> make_steps(const Algorithm& algorithm, const Shape& shape, Position position) {
  ACCL_ASSERT(algorithm.fits(shape), algorithm.name, shape.size);
  StepList list;
  algorithm.emit(shape, position, list);
  return std::move(list.steps());
}

PlanSet make_plan_set(const Algorithm& algorithm, const Shape& shape) {
  PlanSet plan{algorithm.collective, shape, algorithm.chunks(shape), {}};
  for (std::uint32_t position = 0; position < shape.size; ++position) {
    plan.positions.push_back(make_steps(algorithm, shape, Position{position}));
  }
  return plan;
}

Slice granted(Collective collective, const Shape& shape, std::uint32_t chunks, Position position,
              Buffer buffer) {
  const Slice all{buffer, 0, chunks};
  const Slice none{buffer, 0, 0};
  const std::uint32_t each = chunks / shape.size;
  const Slice own{buffer, index(position) * each, each};
  const bool is_input = buffer == Buffer::input;
  const bool is_root = position == shape.root;
  switch (collective) {
    case Collective::reduce_scatter:
      return is_input ? all : own;
    case Collective::allgather:
      return is_input ? own : all;
    case Collective::broadcast:
      return is_input && !is_root ? none : all;
    case Collective::reduce:
      return !is_input && !is_root ? none : all;
    case Collective::gather:
      if (is_input) return own;
      return is_root ? all : none;
    case Collective::scatter:
      if (!is_input) return own;
      return is_root ? all : none;
    case Collective::allreduce:
    case Collective::alltoall:
    case Collective::alltoallv:
    case Collective::sendrecv:
    case Collective::barrier:
      return all;
  }
  return none;
}

std::optional<std::string> find_fault(const PlanSet& plan) {
  if (plan.positions.size() != plan.shape.size) return "not one list for each position";
  if (plan.chunks == 0) return "a plan of no chunks";
  for (std::uint32_t position = 0; position < plan.shape.size; ++position) {
    if (auto fault = verify::find_shape_fault(plan, position)) return fault;
  }
  verify::Wiring wiring;
  if (auto fault = verify::find_pairing_fault(plan, wiring)) return fault;
  std::vector<verify::At> order;
  if (auto fault = verify::find_progress_fault(plan, wiring, order)) return fault;
  return verify::find_meaning_fault(plan, wiring, order);
}

std::optional<std::string> find_fault_at(const Algorithm& algorithm, const Shape& shape,
                                         Position position) {
  PlanSet plan{algorithm.collective, shape, algorithm.chunks(shape), {}};
  plan.positions.resize(shape.size);
  plan.positions[index(position)] = make_steps(algorithm, shape, position);
  if (auto fault = verify::find_shape_fault(plan, index(position))) return fault;
  // Of the peers only what they exchange with this position; then all must pair up.
  const std::vector<Step> own = plan.positions[index(position)];
  for (const Step& step : own) {
    std::vector<Step>& peer = plan.positions[index(step.peer)];
    if (!verify::is_message(step) || !peer.empty()) continue;
    for (const Step& other : make_steps(algorithm, shape, step.peer)) {
      if (verify::is_message(other) && other.peer == position) peer.push_back(other);
    }
  }
  verify::Wiring wiring;
  return verify::find_pairing_fault(plan, wiring);
}

}  // namespace accl
