#include "tests/random/act.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace accl::test {
namespace {

constexpr std::byte untouched{0xa5};
constexpr std::size_t most_shift = 64;  // A cache line.

bool has_blocks(Collective c) {
  return c == Collective::reduce_scatter || c == Collective::allgather ||
         c == Collective::alltoall || c == Collective::gather || c == Collective::scatter;
}

}  // namespace

Buffer::Buffer(std::size_t bytes, Dice& dice) : size_(bytes), is_shared_(dice.one_in(4)) {
  const std::size_t shift = dice.one_in(3) ? 0 : dice.below(most_shift);
  const std::size_t whole = bytes + 2 * margin + most_shift;
  if (is_shared_ && accl_alloc(&memory_, whole) != ACCL_SUCCESS) {
    throw std::runtime_error(accl_last_error(nullptr));
  }
  if (!is_shared_) memory_ = std::aligned_alloc(most_shift, (whole + 63) / 64 * 64);
  if (memory_ == nullptr) throw std::bad_alloc();
  base_ = static_cast<std::byte*>(memory_) + shift;
  std::fill_n(base_, size_ + 2 * margin, untouched);
}

Buffer::~Buffer() {
  if (is_shared_) accl_free(memory_);
  if (!is_shared_) std::free(memory_);
}

bool Buffer::is_spilled() const {
  const auto is_clean = [](const std::byte* at) {
    return std::all_of(at, at + margin, [](std::byte one) { return one == untouched; });
  };
  return !is_clean(base_) || !is_clean(base_ + margin + size_);
}

void Act::Lists::add(std::size_t count, std::size_t gap) {
  counts.push_back(count);
  offsets.push_back(elements + gap);
  elements += gap + count;
}

Act::Act(const Seat& seat, const Draw& draw, Dice& dice) : seat_(seat), draw_(draw), dice_(dice) {
  measure();
  place();
  expect();
}

bool Act::reduces() const {
  return draw_.collective == Collective::allreduce || draw_.collective == Collective::reduce ||
         draw_.collective == Collective::reduce_scatter;
}

// Whether this rank gives data; for point to point, whether it has somebody to talk to.
bool Act::has_input() const {
  const Collective c = draw_.collective;
  if (c == Collective::barrier) return false;
  if (c == Collective::broadcast || c == Collective::scatter) return seat_.rank == draw_.root;
  return draw_.way != Way::paired || has_partner();
}

bool Act::has_output() const {
  const Collective c = draw_.collective;
  if (c == Collective::barrier) return false;
  if (c == Collective::reduce || c == Collective::gather) return seat_.rank == draw_.root;
  return draw_.way != Way::paired || has_partner();
}

bool Act::may_be_in_place() const {
  const Collective c = draw_.collective;
  return has_input() && has_output() && c != Collective::alltoall && c != Collective::alltoallv &&
         c != Collective::sendrecv;
}

void Act::measure() {
  const std::size_t one = draw_.count, all = draw_.count * seat_.size;
  const Collective c = draw_.collective;
  const bool sends_all =
      c == Collective::reduce_scatter || c == Collective::alltoall || c == Collective::scatter;
  const bool gets_all =
      c == Collective::allgather || c == Collective::alltoall || c == Collective::gather;
  send_elements_ = has_input() ? (sends_all ? all : one) : 0;
  recv_elements_ = has_output() ? (gets_all ? all : one) : 0;
  if (c != Collective::alltoallv) return;
  for (std::uint32_t r = 0; r < seat_.size; ++r) {
    sent_.add(elements_between(draw_, seat_.rank, r), dice_.below(4));
    got_.add(elements_between(draw_, r, seat_.rank), dice_.below(4));
  }
  send_elements_ = sent_.elements;
  recv_elements_ = got_.elements;
}

// The same on all ranks, also where their buffers differ: what an element is depends on it.
perf::PatternKey Act::key() const {
  const std::size_t most = std::max<std::size_t>(1, (draw_.count + 4) * seat_.size);
  return {.type = draw_.type,
          .op = draw_.op,
          .ranks = seat_.size,
          .seed = draw_.salt,
          .elements = std::min(most, perf::pattern_elements)};
}

void Act::place() {
  const bool in_place = may_be_in_place() && dice_.one_in(2);
  const std::size_t larger = std::max(send_elements_, recv_elements_);
  input_ = std::make_unique<Buffer>((in_place ? larger : send_elements_) * width(), dice_);
  send_ = input_->bytes().data();
  if (in_place) {
    const std::size_t own = has_blocks(draw_.collective) ? seat_.rank * draw_.count * width() : 0;
    recv_ = send_ + (send_elements_ == larger ? own : 0);
    if (send_elements_ != larger) send_ += own;
  } else {
    output_ = std::make_unique<Buffer>(recv_elements_ * width(), dice_);
    recv_ = output_->bytes().data();
  }
  if (has_input()) {
    const Rank self{seat_.rank};
    const perf::Pattern pattern =
        reduces() ? perf::Pattern::input(key(), self) : perf::Pattern::moved(key(), self);
    pattern.fill({send_, send_elements_ * width()}, 0);
  }
  if (!in_place) kept_.assign(send_, send_ + send_elements_ * width());
  if (!has_input() && dice_.one_in(2)) send_ = nullptr;
  if (!has_output() && dice_.one_in(2)) recv_ = nullptr;
}

void Act::expect() {
  if (draw_.collective == Collective::alltoallv) return expect_lists();
  if (!has_output() || recv_elements_ == 0) return;
  const std::size_t n = draw_.count;
  const std::size_t own = seat_.rank * n;
  const auto from = [&](std::uint32_t rank) { return perf::Pattern::moved(key(), Rank{rank}); };
  switch (draw_.collective) {
    case Collective::allreduce:
    case Collective::reduce:
      return expected_.push_back({perf::Pattern::reduced(key()), 0, n, 0});
    case Collective::reduce_scatter:
      return expected_.push_back({perf::Pattern::reduced(key()), 0, n, own});
    case Collective::broadcast:
      return expected_.push_back({from(draw_.root), 0, n, 0});
    case Collective::scatter:
      return expected_.push_back({from(draw_.root), 0, n, own});
    case Collective::sendrecv: {
      const std::uint32_t peer = draw_.way == Way::paired ? partner() : behind();
      return expected_.push_back({from(peer), 0, n, 0});
    }
    default:
      break;
  }
  const bool is_dealt = draw_.collective == Collective::alltoall;
  for (std::uint32_t r = 0; r < seat_.size; ++r) {
    expected_.push_back({from(r), r * n, n, is_dealt ? own : 0});
  }
}

// Where a peer keeps what it sends us is its own business, so the data must not depend on it: the
// input was filled as one piece, and is filled again block by block.
void Act::expect_lists() {
  const perf::Pattern mine = perf::Pattern::moved(key(), Rank{seat_.rank});
  for (std::uint32_t r = 0; r < seat_.size; ++r) {
    const std::size_t bytes = sent_.counts[r] * width();
    mine.fill({send_ + sent_.offsets[r] * width(), bytes}, r);
    expected_.push_back(
        {perf::Pattern::moved(key(), Rank{r}), got_.offsets[r], got_.counts[r], seat_.rank});
  }
  kept_.assign(send_, send_ + send_elements_ * width());
}

void Act::require(accl_result_t result) const {
  if (result != ACCL_SUCCESS) throw std::runtime_error(accl_last_error(seat_.comm));
}

accl_op_t Act::op() {
  if (draw_.op != ReduceOp::premul_sum) return static_cast<accl_op_t>(draw_.op);
  const int factor = perf::premul_factor(Rank{seat_.rank});
  const bool is_integer = draw_.type < DataType::float16;
  const std::uint64_t bits =
      is_integer ? static_cast<std::uint64_t>(factor) : perf::encode(draw_.type, factor);
  require(accl_op_create_premul_sum(&made_op_, &bits, type(), seat_.comm));
  return made_op_;
}

accl_result_t Act::call_rooted() {
  const std::size_t n = draw_.count;
  switch (draw_.collective) {
    case Collective::broadcast:
      return accl_broadcast(send_, recv_, n, type(), root(), seat_.comm);
    case Collective::reduce:
      return accl_reduce(send_, recv_, n, type(), op(), root(), seat_.comm);
    case Collective::gather:
      return accl_gather(send_, recv_, n, type(), root(), seat_.comm);
    default:
      return accl_scatter(send_, recv_, n, type(), root(), seat_.comm);
  }
}

accl_result_t Act::call_exchange() {
  const std::size_t n = draw_.count;
  if (draw_.way != Way::paired) {
    return accl_sendrecv(send_, n, static_cast<int>(ahead()), recv_, n, static_cast<int>(behind()),
                         type(), seat_.comm);
  }
  if (!has_partner()) return ACCL_SUCCESS;
  const int peer = static_cast<int>(partner());
  const auto get = [&] { return accl_recv(recv_, n, type(), peer, seat_.comm); };
  if (partner() < seat_.rank) require(get());
  require(accl_send(send_, n, type(), peer, seat_.comm));
  return partner() < seat_.rank ? ACCL_SUCCESS : get();
}

accl_result_t Act::call() {
  const std::size_t n = draw_.count;
  switch (draw_.collective) {
    case Collective::allreduce:
      return accl_allreduce(send_, recv_, n, type(), op(), seat_.comm);
    case Collective::reduce_scatter:
      return accl_reduce_scatter(send_, recv_, n, type(), op(), seat_.comm);
    case Collective::allgather:
      return accl_allgather(send_, recv_, n, type(), seat_.comm);
    case Collective::alltoall:
      return accl_alltoall(send_, recv_, n, type(), seat_.comm);
    case Collective::alltoallv:
      return accl_alltoallv(send_, sent_.counts.data(), sent_.offsets.data(), recv_,
                            got_.counts.data(), got_.offsets.data(), type(), seat_.comm);
    case Collective::sendrecv:
      return call_exchange();
    case Collective::barrier:
      return accl_barrier(seat_.comm);
    default:
      return call_rooted();
  }
}

accl_result_t Act::call_started() {
  const std::size_t n = draw_.count;
  switch (draw_.collective) {
    case Collective::allreduce:
      return accl_allreduce_start(send_, recv_, n, type(), op(), seat_.comm, &request_);
    case Collective::reduce_scatter:
      return accl_reduce_scatter_start(send_, recv_, n, type(), op(), seat_.comm, &request_);
    case Collective::allgather:
      return accl_allgather_start(send_, recv_, n, type(), seat_.comm, &request_);
    default:
      return accl_broadcast_start(send_, recv_, n, type(), root(), seat_.comm, &request_);
  }
}

void Act::run() {
  require(draw_.way == Way::started ? call_started() : call());
  if (made_op_ != ACCL_SUM) require(accl_op_destroy(made_op_, seat_.comm));
}

void Act::finish(bool asks) {
  accl_request_t* const request = std::exchange(request_, nullptr);
  if (!asks) return require(accl_wait(request));
  int done = 0;
  while (done == 0) require(accl_test(request, &done));
}

std::string Act::check() const {
  std::uint64_t wrong = 0;
  for (const Expected& one : expected_) {
    const std::span<const std::byte> actual(recv_ + one.at * width(), one.count * width());
    wrong += one.pattern.count_wrong(actual, one.first);
  }
  if (wrong != 0) return fmt::format("{} wrong elements", wrong);
  if (input_->is_spilled() || (output_ != nullptr && output_->is_spilled())) {
    return "bytes outside of the buffer were written";
  }
  const std::byte* const input = input_->bytes().data();
  if (!std::equal(kept_.begin(), kept_.end(), input)) return "the input was changed";
  return {};
}

}  // namespace accl::test
