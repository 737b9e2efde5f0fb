#include "accl/calls.h"

#include <algorithm>
#include <limits>

#include "accl/base/error.h"

namespace accl {
namespace {

std::size_t own_block_bytes(const Call& call, Rank self) {
  return index(self) * call.count * size_of(call.type);
}

// Address arithmetic that may leave the caller's array, which pointers must not.
std::byte* back(const void* from, std::size_t bytes) {
  return reinterpret_cast<std::byte*>(reinterpret_cast<std::uintptr_t>(from) - bytes);
}

// Whether this rank reads its send buffer, and writes its receive buffer.
bool reads_input(const Call& call, Rank self) {
  const Collective c = call.collective;
  if (c == Collective::sendrecv) return call.to != -1;
  return (c != Collective::broadcast && c != Collective::scatter) || call.root == self;
}

bool writes_output(const Call& call, Rank self) {
  const Collective c = call.collective;
  if (c == Collective::sendrecv) return call.from != -1;
  return (c != Collective::reduce && c != Collective::gather) || call.root == self;
}

std::size_t recv_count_of(const Call& call) {
  return call.collective == Collective::sendrecv ? call.recv_count : call.count;
}

void check_buffers(const Call& call, Rank self) {
  const Collective c = call.collective;
  if (reads_input(call, self) && call.send == nullptr && call.count != 0) {
    fail(ErrorKind::invalid_argument, "{}: the send buffer is NULL; give {} elements of {}",
         name_of(c), call.count, name_of(call.type));
  }
  const std::size_t recv_count = recv_count_of(call);
  if (writes_output(call, self) && call.recv == nullptr && recv_count != 0) {
    fail(ErrorKind::invalid_argument, "{}: the receive buffer is NULL; give room for {} of {}",
         name_of(c), recv_count, name_of(call.type));
  }
}

bool meets(std::span<const std::byte> memory, const void* at, std::size_t bytes) {
  const auto begin = reinterpret_cast<std::uintptr_t>(memory.data());
  const auto from = reinterpret_cast<std::uintptr_t>(at);
  return bytes > 0 && from < begin + memory.size() && begin < from + bytes;
}

bool meets_blocks(std::span<const std::byte> memory, const void* from, std::size_t element,
                  std::span<const std::size_t> counts, std::span<const std::size_t> offsets) {
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const std::byte* const at = static_cast<const std::byte*>(from) + offsets[i] * element;
    if (meets(memory, at, counts[i] * element)) return true;
  }
  return false;
}

void check_peer(const char* what, std::int64_t peer, std::uint32_t size) {
  if (peer < -2 || peer >= static_cast<std::int64_t>(size)) {
    fail(ErrorKind::invalid_argument, "sendrecv: no rank {} to {}; ranks are 0 to {}", peer, what,
         size - 1);
  }
}

void check_counts(const Call& call, std::uint32_t size) {
  for (const auto& list :
       {call.send_counts, call.send_offsets, call.recv_counts, call.recv_offsets}) {
    if (list.size() == size) continue;
    fail(ErrorKind::invalid_argument, "alltoallv: give {} counts and offsets each way, not {}",
         size, list.size());
  }
}

}  // namespace

bool is_blocks(Collective c) {
  return c == Collective::reduce_scatter || c == Collective::allgather ||
         c == Collective::alltoall || c == Collective::alltoallv || c == Collective::gather ||
         c == Collective::scatter;
}

bool is_reduction(Collective c) {
  return c == Collective::allreduce || c == Collective::reduce_scatter || c == Collective::reduce;
}

bool has_root(Collective c) {
  return c == Collective::broadcast || c == Collective::reduce || c == Collective::gather ||
         c == Collective::scatter;
}

void validate(const Call& call, std::uint32_t size, Rank self) {
  if (has_root(call.collective) && index(call.root) >= size) {
    fail(ErrorKind::invalid_argument, "{}: no root {}; ranks are 0 to {}", name_of(call.collective),
         index(call.root), size - 1);
  }
  const std::size_t most = std::numeric_limits<std::size_t>::max() / 2 / size / size_of(call.type);
  if (call.count > most) {
    fail(ErrorKind::invalid_argument, "{}: {} elements of {} on {} ranks are more than memory has",
         name_of(call.collective), call.count, name_of(call.type), size);
  }
  if (call.collective == Collective::barrier) return;
  if (call.collective == Collective::alltoallv) return check_counts(call, size);
  if (call.collective == Collective::sendrecv) {
    check_peer("send to", call.to, size);
    check_peer("receive from", call.from, size);
  }
  check_buffers(call, self);
}

bool is_same(const Call& a, const Call& b) {
  return a.send == b.send && a.recv == b.recv && a.count == b.count &&
         a.collective == b.collective && a.type == b.type && a.op == b.op && a.root == b.root &&
         a.scalar == b.scalar && a.integer_scalar == b.integer_scalar && a.to == b.to &&
         a.from == b.from && a.recv_count == b.recv_count;
}

bool is_nothing(const Call& call) {
  return call.count == 0 && call.recv_count == 0 && call.collective != Collective::barrier &&
         call.collective != Collective::alltoallv;
}

std::size_t call_bytes(const Call& call, std::uint32_t size) {
  const std::size_t one = call.count * size_of(call.type);
  return is_blocks(call.collective) ? one * size : one;
}

bool uses(const Call& call, std::uint32_t size, Rank self, std::span<const std::byte> memory) {
  const std::size_t element = size_of(call.type);
  if (call.collective == Collective::barrier) return false;
  if (call.collective == Collective::alltoallv) {
    return meets_blocks(memory, call.send, element, call.send_counts, call.send_offsets) ||
           meets_blocks(memory, call.recv, element, call.recv_counts, call.recv_offsets);
  }
  const Collective c = call.collective;
  const bool has_own_input = c == Collective::allgather || c == Collective::gather;
  const bool has_own_output = c == Collective::reduce_scatter || c == Collective::scatter;
  const std::size_t blocks = is_blocks(c) ? size : 1;
  const std::size_t sent = call.count * element * (has_own_input ? 1 : blocks);
  const std::size_t received = recv_count_of(call) * element * (has_own_output ? 1 : blocks);
  return (reads_input(call, self) && meets(memory, call.send, sent)) ||
         (writes_output(call, self) && meets(memory, call.recv, received));
}

std::byte* input_base(const Call& call, Rank self) {
  const bool own_only =
      call.collective == Collective::allgather || call.collective == Collective::gather;
  return back(call.send, own_only ? own_block_bytes(call, self) : 0);
}

std::byte* output_base(const Call& call, Rank self) {
  const bool own_only =
      call.collective == Collective::reduce_scatter || call.collective == Collective::scatter;
  return back(call.recv, own_only ? own_block_bytes(call, self) : 0);
}

}  // namespace accl
