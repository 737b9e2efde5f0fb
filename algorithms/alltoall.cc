// All to all: pairwise for large blocks (and the only form for blocks of different sizes), Bruck's
// store and forward for small ones.
#include <bit>

#include "algorithms/families.h"

namespace accl::families {

// In round r to the position r ahead and from the one r behind, so that every position sends and
// receives one block a round. A few rounds are under way at once.
void alltoall_pairwise(const Shape& shape, Position position, StepList& list) {
  const std::uint32_t size = shape.size;
  const std::uint32_t own = index(position);
  const auto send = [&](std::uint32_t round) {
    const std::uint32_t peer = (own + round) % size;
    if (round < size) list.send(input(peer), Position{peer}, output(own));
  };
  for (std::uint32_t round = 1; round <= peers_in_flight; ++round) send(round);
  list.copy(output(own), input(own));
  for (std::uint32_t round = 1; round < size; ++round) {
    const std::uint32_t peer = (own + size - round) % size;
    list.recv(output(peer), Position{peer});
    send(round + peers_in_flight);
  }
}

namespace {

// Slot i holds a block that still has to go i positions ahead in all; in round k the slots with
// bit k set go 2^k ahead, packed into one message. All slots must be of one size.
class Slots {
 public:
  Slots(std::uint32_t size, std::uint32_t own, StepList& list)
      : size_(size), own_(own), list_(list), at_(size) {
    for (std::uint32_t slot = 0; slot < size; ++slot) at_[slot] = input((own + slot) % size);
  }

  void exchange(std::uint32_t round) {
    const std::uint32_t distance = 1U << round;
    std::vector<std::uint32_t> moving;
    for (std::uint32_t slot = 0; slot < size_; ++slot) {
      if ((slot & distance) != 0) moving.push_back(slot);
    }
    const auto count = static_cast<std::uint32_t>(moving.size());
    const Slice packed = scratch(2 * round * size_, count);
    const Slice landing = scratch((2 * round + 1) * size_, count);
    std::uint32_t next = packed.chunk;
    for (const std::uint32_t slot : moving) copy_on(scratch(next++), at_[slot]);
    flush();
    list_.send(packed, Position{(own_ + distance) % size_}, landing);
    list_.recv(landing, Position{(own_ + size_ - distance) % size_});
    next = landing.chunk;
    for (const std::uint32_t slot : moving) at_[slot] = scratch(next++);
  }

  // What has gone all its way in slot i came from i positions behind.
  void deliver() {
    for (std::uint32_t slot = 0; slot < size_; ++slot) {
      copy_on(output((own_ + size_ - slot) % size_), at_[slot]);
    }
    flush();
  }

 private:
  // Copies one chunk, as part of the copy before where the two are neighbours.
  void copy_on(Slice target, Slice source) {
    const bool goes_on = pending_source_.count > 0 && follows(pending_target_, target) &&
                         follows(pending_source_, source);
    if (!goes_on) {
      flush();
      pending_target_ = target;
      pending_source_ = source;
      return;
    }
    ++pending_target_.count;
    ++pending_source_.count;
  }
  static bool follows(Slice before, Slice after) {
    return before.buffer == after.buffer && before.chunk + before.count == after.chunk;
  }
  void flush() {
    if (pending_source_.count > 0) list_.copy(pending_target_, pending_source_);
    pending_source_.count = 0;
  }

  std::uint32_t size_;
  std::uint32_t own_;
  StepList& list_;
  std::vector<Slice> at_;
  Slice pending_target_;
  Slice pending_source_;
};

}  // namespace

void alltoall_bruck(const Shape& shape, Position position, StepList& list) {
  Slots slots(shape.size, index(position), list);
  for (std::uint32_t round = 0; (1U << round) < shape.size; ++round) slots.exchange(round);
  slots.deliver();
}

}  // namespace accl::families
