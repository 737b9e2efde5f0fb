#include "bench/perf/player.h"

#include <algorithm>
#include <chrono>

#include "accl/base/assert.h"
#include "accl/base/clock.h"

namespace accl::perf {
namespace {

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

std::size_t largest(std::span<const Case> cases, std::uint32_t ranks) {
  std::size_t bytes = 0;
  for (const Case& row : cases) {
    const std::size_t elements = std::max(send_elements(row, ranks), recv_elements(row, ranks));
    bytes = std::max(bytes, elements * size_of(row.type));
  }
  return bytes;
}

std::size_t widest(std::span<const Case> cases) {
  std::size_t bytes = 1;
  for (const Case& row : cases) bytes = std::max(bytes, size_of(row.type));
  return bytes;
}

}  // namespace

Player::Player(Communicator& communicator, const Options& options, std::span<const Case> cases)
    : communicator_(communicator),
      counters_(options.traffic ? std::make_shared<TransportCounters>() : nullptr),
      counting_(options.traffic ? communicator.counting(counters_) : nullptr),
      options_(options),
      cases_(cases),
      send_(options.buffers, largest(cases, communicator.size()), options.align_bytes,
            options.unalign * widest(cases)),
      recv_(options.buffers, largest(cases, communicator.size()), options.align_bytes,
            options.unalign * widest(cases)) {}

Player::Bytes Player::bytes_of(const Case& row) const {
  const std::size_t width = size_of(row.type);
  return {send_elements(row, communicator_.size()) * width,
          recv_elements(row, communicator_.size()) * width};
}

std::vector<Call> Player::calls(const Case& row, bool in_place) {
  const Bytes bytes = bytes_of(row);
  const std::size_t both = std::max(bytes.send, bytes.recv);
  std::byte* const send = send_.data(in_place ? 0 : bytes.send).data();
  std::byte* const recv = recv_.data(in_place ? both : bytes.recv).data();
  std::vector<Call> result;
  for (std::size_t i = 0; i < row.counts.size(); ++i) {
    result.push_back(
        make_call(row, i, communicator_.rank(), communicator_.size(), send, recv, in_place));
  }
  return result;
}

void Player::iterate(std::span<const Call> calls) {
  for (std::uint64_t i = 0; i < options_.aggregated; ++i) {
    for (const Call& call : calls) communicator_.run(call);
  }
}

void Player::barrier() {
  Call call;
  call.collective = Collective::barrier;
  communicator_.run(call);
}

std::vector<double> Player::time(const Command& command) {
  const Case& row = cases_[command.row];
  const bool in_place = command.in_place != 0;
  // In place, results grow from call to call, to infinity at worst, which costs no time. Fractions
  // would shrink to subnormals, which do: products are timed on the whole numbers of sums.
  Case data = row;
  if (data.op == ReduceOp::prod) data.op = ReduceOp::sum;
  write_inputs(row, in_place, input(data, command.seed));
  const std::vector<Call> all = calls(row, in_place);
  for (std::uint64_t i = 0; i < command.warmup; ++i) iterate(all);
  const bool outside = options_.blocking == 3;
  const bool inside = options_.blocking == 1;
  const std::uint64_t batch = outside ? 1 : command.batch;
  std::vector<double> seconds;
  seconds.reserve(command.iterations / batch + 1);
  barrier();
  Clock::time_point begin = Clock::now();
  for (std::uint64_t done = 0; done < command.iterations;) {
    const std::uint64_t run = std::min(batch, command.iterations - done);
    for (std::uint64_t i = 0; i < run; ++i) {
      iterate(all);
      if (inside) barrier();
    }
    const Clock::time_point end = Clock::now();
    seconds.push_back(seconds_between(begin, end) / static_cast<double>(run * options_.aggregated));
    done += run;
    begin = end;
    if (!outside) continue;
    barrier();
    begin = Clock::now();
  }
  return seconds;
}

Damage Player::check(const Command& command) {
  const Case& row = cases_[command.row];
  const bool in_place = command.in_place != 0;
  const Bytes bytes = bytes_of(row);
  const std::size_t both = std::max(bytes.send, bytes.recv);
  const Pattern pattern = input(row, command.seed);
  std::ranges::fill(recv_.data(in_place ? both : bytes.recv), GuardedBuffer::poison);
  write_inputs(row, in_place, pattern);
  send_.guard(in_place ? 0 : bytes.send);
  recv_.guard(in_place ? both : bytes.recv);
  for (const Call& call : calls(row, in_place)) communicator_.run(call);
  Damage damage = check_result(row, in_place, command.seed);
  damage.outside += send_.count_damage(in_place ? 0 : bytes.send) +
                    recv_.count_damage(in_place ? both : bytes.recv);
  if (!in_place) damage.outside += pattern.count_wrong(send_.data(bytes.send), 0);
  return damage;
}

std::vector<Flow> Player::count(const Command& command) {
  ACCL_ASSERT(counting_ != nullptr);
  const Case& row = cases_[command.row];
  write_inputs(row, false, input(row, command.seed));
  const std::vector<PeerCounters> before = counters_->read();
  for (const Call& call : calls(row, false)) counting_->run(call);
  std::vector<Flow> flows;
  for (const PeerCounters& now : counters_->read()) {  // It grows at its end only.
    const std::size_t at = flows.size();
    const PeerCounters old = at < before.size() ? before[at] : PeerCounters{};
    flows.push_back({index(communicator_.rank()), index(now.peer), now.messages - old.messages,
                     now.bytes - old.bytes});
  }
  std::erase_if(flows, [](const Flow& flow) { return flow.messages == 0; });
  return flows;
}

PatternKey Player::key(const Case& row, std::uint64_t seed) const {
  const std::uint32_t ranks = communicator_.size();
  return {row.type, row.op, ranks, seed,
          std::max(send_elements(row, ranks), recv_elements(row, ranks))};
}

Pattern Player::input(const Case& row, std::uint64_t seed) const {
  const PatternKey key = this->key(row, seed);
  return has_operation(row.collective) ? Pattern::input(key, communicator_.rank())
                                       : Pattern::moved(key, communicator_.rank());
}

// In place, inputs lie where accl.h says: in the own block where recv is the whole, in the whole
// where recv is a block.
void Player::write_inputs(const Case& row, bool in_place, const Pattern& pattern) {
  const Bytes bytes = bytes_of(row);
  if (!in_place) return pattern.fill(send_.data(bytes.send), 0);
  const bool own_block =
      row.collective == Collective::allgather || row.collective == Collective::gather;
  const std::size_t offset = own_block ? index(communicator_.rank()) * bytes.send : 0;
  pattern.fill(recv_.data(offset + bytes.send).subspan(offset), 0);
}

bool Player::receives(const Case& row) const {
  const bool at_root = row.collective == Collective::reduce || row.collective == Collective::gather;
  return !at_root || communicator_.rank() == row.root;
}

std::size_t Player::place_of_result(const Case& row, bool in_place) const {
  const bool own_block =
      row.collective == Collective::reduce_scatter || row.collective == Collective::scatter;
  const std::size_t block = total_count(row) * size_of(row.type);
  return in_place && own_block ? index(communicator_.rank()) * block : 0;
}

Damage Player::check_result(const Case& row, bool in_place, std::uint64_t seed) {
  const std::size_t bytes = bytes_of(row).recv;
  const std::size_t offset = place_of_result(row, in_place);
  const std::span<const std::byte> result = recv_.data(offset + bytes).subspan(offset);
  if (receives(row)) return {count_wrong(row, result, seed), 0};
  // Who receives nothing must find its output as it was; in place it is its input, or scratch.
  return {0, in_place ? 0 : count_not_poison(result)};
}

std::uint64_t Player::count_wrong(const Case& row, std::span<const std::byte> result,
                                  std::uint64_t seed) const {
  const PatternKey key = this->key(row, seed);
  const std::uint32_t self = index(communicator_.rank());
  const std::uint32_t ranks = communicator_.size();
  const std::size_t count = total_count(row);
  const std::size_t block = count * size_of(row.type);
  switch (row.collective) {
    case Collective::allreduce:
    case Collective::reduce:
      return Pattern::reduced(key).count_wrong(result, 0);
    case Collective::reduce_scatter:
      return Pattern::reduced(key).count_wrong(result, self * count);
    case Collective::broadcast:
      return Pattern::moved(key, row.root).count_wrong(result, 0);
    case Collective::scatter:
      return Pattern::moved(key, row.root).count_wrong(result, self * count);
    case Collective::sendrecv:
      return Pattern::moved(key, Rank{(self + ranks - 1) % ranks}).count_wrong(result, 0);
    default:
      break;
  }
  ACCL_ASSERT(row.collective != Collective::alltoallv);
  std::uint64_t wrong = 0;
  // allgather, gather, alltoall: block r of the result is rank r's. A barrier has no result.
  for (std::uint32_t rank = 0; rank < ranks && block != 0; ++rank) {
    const std::size_t first = row.collective == Collective::alltoall ? self * count : 0;
    wrong +=
        Pattern::moved(key, Rank{rank}).count_wrong(result.subspan(rank * block, block), first);
  }
  return wrong;
}

}  // namespace accl::perf
