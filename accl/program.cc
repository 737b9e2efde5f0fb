#include "accl/program.h"

#include <algorithm>
#include <map>

#include "accl/base/assert.h"

namespace accl {
namespace {

using Kind = Step::Kind;

// Input and output may be the same memory, so what is in flight is kept by chunk for both alike.
Buffer memory_of(Buffer buffer) { return buffer == Buffer::input ? Buffer::output : buffer; }

class Lowering {
 public:
  Lowering(const std::vector<Step>& steps, std::uint32_t chunks) : steps_(steps) {
    program_.chunks = chunks;
  }

  Program run() {
    find_messages_read_in_place();
    for (std::uint32_t i = 0; i < steps_.size(); ++i) add(i);
    find_read_again();
    find_free_targets();
    return std::move(program_);
  }

 private:
  static constexpr std::uint32_t none = Program::no_place;

  // A message received into scratch needs no memory if just one later step reads it, as a whole,
  // and no other message of the same peer is due before that (a lane is read in order).
  void find_messages_read_in_place() {
    reader_of_.assign(steps_.size(), none);
    message_at_.assign(steps_.size(), {none, none});
    std::vector<std::vector<std::uint32_t>> readers;  // By scratch chunk.
    for (std::uint32_t i = 0; i < steps_.size(); ++i) note_scratch_reads(i, readers);
    for (std::uint32_t i = 0; i < steps_.size(); ++i) {
      const Step& step = steps_[i];
      if (step.kind != Kind::recv || step.target.buffer != Buffer::scratch) continue;
      const std::uint32_t reader = only_reader(i, readers);
      if (reader != none && !receives_between(step.peer, i, reader)) read_in_place(i, reader);
    }
  }

  void note_scratch_reads(std::uint32_t i, std::vector<std::vector<std::uint32_t>>& readers) {
    const Step& step = steps_[i];
    auto note = [&](const Slice& slice) {
      if (slice.buffer != Buffer::scratch) return;
      if (readers.size() < slice.chunk + slice.count) readers.resize(slice.chunk + slice.count);
      for (std::uint32_t c = 0; c < slice.count; ++c) readers[slice.chunk + c].push_back(i);
    };
    if (step.kind != Kind::recv) note(step.source);
    if (step.kind == Kind::reduce) note(step.other);
  }

  std::uint32_t only_reader(std::uint32_t recv,
                            const std::vector<std::vector<std::uint32_t>>& readers) const {
    const Slice& slice = steps_[recv].target;
    if (slice.chunk + slice.count > readers.size()) return none;
    for (std::uint32_t c = 0; c < slice.count; ++c) {
      if (readers[slice.chunk + c].size() != 1) return none;
    }
    const std::uint32_t reader = readers[slice.chunk].front();
    const Step& step = steps_[reader];
    const bool as_source = step.source == slice;
    const bool as_other = step.kind == Kind::reduce && step.other == slice;
    const bool reads_whole = step.kind != Kind::send && as_source != as_other;
    return reader > recv && reads_whole ? reader : none;
  }

  bool receives_between(Position peer, std::uint32_t from, std::uint32_t to) const {
    const auto first = steps_.begin() + from + 1;
    return std::any_of(first, steps_.begin() + to, [&](const Step& step) {
      return step.kind == Kind::recv && step.peer == peer;
    });
  }

  void read_in_place(std::uint32_t recv, std::uint32_t reader) {
    reader_of_[recv] = reader;
    const bool as_source = steps_[reader].source == steps_[recv].target;
    (as_source ? message_at_[reader].source : message_at_[reader].other) = recv;
  }

  void add(std::uint32_t i) {
    const Step& step = steps_[i];
    if (step.kind == Kind::send) return add_send(step);
    if (step.kind == Kind::recv && reader_of_[i] != none) return;
    Operation operation;
    operation.has_target = true;
    operation.target = step.target;
    operation.is_reduce = step.kind == Kind::reduce;
    if (step.kind == Kind::recv) {
      operation.a = {Operand::Kind::message, step.target, number_of(step.peer)};
    } else {
      operation.a = operand(step.source, message_at_[i].source);
    }
    if (operation.is_reduce) operation.b = operand(step.other, message_at_[i].other);
    place_scratch(step.target);
    find_drains(operation);
    append(operation);
  }

  Operand operand(const Slice& slice, std::uint32_t recv) {
    if (recv != none) return {Operand::Kind::message, slice, number_of(steps_[recv].peer)};
    place_scratch(slice);
    return {Operand::Kind::local, slice, 0};
  }

  void add_send(const Step& step) {
    const bool joins = !program_.operations.empty() && program_.operations.back().has_target &&
                       program_.operations.back().target == step.source;
    if (!joins) {
      Operation operation;
      operation.a = operand(step.source, none);
      append(operation);
    }
    note_in_flight(step.source, static_cast<std::uint32_t>(program_.sends.size()));
    program_.sends.push_back(number_of(step.peer));
    program_.is_overwritten.push_back(false);
    program_.operations.back().sends_end = static_cast<std::uint32_t>(program_.sends.size());
  }

  void append(Operation operation) {
    operation.sends_begin = operation.sends_end = static_cast<std::uint32_t>(program_.sends.size());
    program_.operations.push_back(operation);
  }

  std::uint32_t number_of(Position peer) {
    const auto [at, is_new] =
        numbers_.try_emplace(peer, static_cast<std::uint32_t>(program_.peers.size()));
    if (is_new) program_.peers.push_back(peer);
    return at->second;
  }

  void place_scratch(const Slice& slice) {
    if (slice.buffer != Buffer::scratch) return;
    auto& places = program_.scratch_place;
    if (places.size() < slice.chunk + slice.count) places.resize(slice.chunk + slice.count, none);
    for (std::uint32_t c = slice.chunk; c < slice.chunk + slice.count; ++c) {
      if (places[c] != none) continue;
      places[c] = static_cast<std::uint32_t>(program_.scratch.size());
      program_.scratch.push_back(c);
    }
  }

  std::vector<std::vector<std::uint32_t>>& in_flight(Buffer buffer) {
    return in_flight_[memory_of(buffer) == Buffer::scratch ? 1 : 0];
  }

  void note_in_flight(const Slice& slice, std::uint32_t send) {
    auto& chunks = in_flight(slice.buffer);
    if (chunks.size() < slice.chunk + slice.count) chunks.resize(slice.chunk + slice.count);
    for (std::uint32_t c = 0; c < slice.count; ++c) chunks[slice.chunk + c].push_back(send);
  }

  // The write waits for the latest send to each peer that reads what it overwrites: messages to
  // one peer leave in order.
  void find_drains(Operation& operation) {
    const auto& chunks = in_flight(operation.target.buffer);
    std::map<std::uint32_t, std::uint32_t> latest;  // Peer number -> send.
    const Slice& slice = operation.target;
    for (std::uint32_t c = slice.chunk; c < slice.chunk + slice.count && c < chunks.size(); ++c) {
      for (const std::uint32_t send : chunks[c]) {
        std::uint32_t& known = latest[program_.sends[send]];
        known = std::max(known, send);
        program_.is_overwritten[send] = true;
      }
    }
    operation.drains_begin = static_cast<std::uint32_t>(program_.drains.size());
    for (const auto& [peer, send] : latest) program_.drains.push_back(send);
    operation.drains_end = static_cast<std::uint32_t>(program_.drains.size());
  }

  void find_read_again() {
    std::vector<bool> is_read[2];
    auto mark = [&](const Operand& operand) {
      if (operand.kind != Operand::Kind::local) return;
      auto& chunks = is_read[memory_of(operand.slice.buffer) == Buffer::scratch ? 1 : 0];
      const std::uint32_t end = operand.slice.chunk + operand.slice.count;
      if (chunks.size() < end) chunks.resize(end);
      for (std::uint32_t c = operand.slice.chunk; c < end; ++c) chunks[c] = true;
    };
    auto is_marked = [&](const Slice& slice) {
      const auto& chunks = is_read[memory_of(slice.buffer) == Buffer::scratch ? 1 : 0];
      for (std::uint32_t c = slice.chunk; c < slice.chunk + slice.count && c < chunks.size(); ++c) {
        if (chunks[c]) return true;
      }
      return false;
    };
    for (auto at = program_.operations.rbegin(); at != program_.operations.rend(); ++at) {
      if (at->has_target) at->is_read_again = is_marked(at->target);
      mark(at->a);
      mark(at->b);
    }
  }

  // For every place the operation behind the last one that used it. What an operation sends is its
  // target or what it reads; whether that has left is for its drains to say.
  void find_free_targets() {
    std::vector<std::uint32_t> used_until[2];
    const auto touch = [&](const Slice& slice, std::uint32_t operation) {
      auto& chunks = used_until[memory_of(slice.buffer) == Buffer::scratch ? 1 : 0];
      const std::uint32_t end = slice.chunk + slice.count;
      if (chunks.size() < end) chunks.resize(end);
      std::uint32_t latest = 0;
      for (std::uint32_t c = slice.chunk; c < end; ++c) {
        latest = std::max(latest, chunks[c]);
        chunks[c] = operation + 1;
      }
      return latest;
    };
    for (std::uint32_t i = 0; i < program_.operations.size(); ++i) {
      Operation& operation = program_.operations[i];
      for (const Operand& operand : {operation.a, operation.b}) {
        if (operand.kind == Operand::Kind::local) touch(operand.slice, i);
      }
      if (!operation.has_target) continue;
      const std::uint32_t free_from = touch(operation.target, i);
      const bool is_put = !operation.is_reduce && operation.a.kind == Operand::Kind::message;
      if (is_put) operation.free_from = free_from;
    }
  }

  struct Messages {
    std::uint32_t source, other;  // Steps that receive them, or none.
  };

  const std::vector<Step>& steps_;
  Program program_;
  std::vector<std::uint32_t> reader_of_;  // By recv step.
  std::vector<Messages> message_at_;      // By reading step.
  std::map<Position, std::uint32_t> numbers_;
  std::vector<std::vector<std::uint32_t>> in_flight_[2];  // Sends by chunk: user memory, scratch.
};

}  // namespace

Program lower(const std::vector<Step>& steps, std::uint32_t chunks) {
  return Lowering(steps, chunks).run();
}

Program lower(const Algorithm& algorithm, const Shape& shape, Position position) {
  StepList list;
  algorithm.emit(shape, position, list);
  Program program = lower(list.steps(), algorithm.chunks(shape));
  program.largest = algorithm.largest(shape);
  return program;
}

}  // namespace accl
