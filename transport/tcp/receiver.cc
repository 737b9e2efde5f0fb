#include "transport/tcp/receiver.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "accl/base/assert.h"

namespace accl::tcp {
namespace {

// Enough that small messages come several at a time, each with its header in one call. Where the
// last message was a large one the next will be too, and what of it is read here has to be copied
// again: then little more than the header.
constexpr std::size_t ahead_bytes = 16384;
constexpr std::size_t ahead_of_large_bytes = 512;
constexpr std::uint32_t large_bytes = 8192;

// Read behind a large payload: the next header, and a small message with it.
constexpr std::size_t tail_bytes = 4096;

// Whether a is behind b on the circle of positions.
bool is_before(std::uint32_t a, std::uint32_t b) { return static_cast<std::int32_t>(a - b) < 0; }

}  // namespace

Receiver::Receiver(int socket, std::span<LaneState> lanes, std::span<std::byte> inbox,
                   std::uint32_t ring_bytes)
    : socket_(socket), lanes_(lanes), inbox_(inbox), ring_bytes_(ring_bytes), ahead_(ahead_bytes) {
  ACCL_ASSERT(inbox.size() == lanes.size() * ring_bytes, inbox.size(), lanes.size(), ring_bytes);
}

ReadResult Receiver::read() {
  std::size_t asked = 0;
  const ssize_t came = left_ > 0 ? read_payload(asked) : read_ahead(asked);
  if (came < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return ReadResult::nothing;
    problem_ = std::generic_category().message(errno);
    return ReadResult::failed;
  }
  if (came == 0) return ReadResult::closed;
  if (!parse()) return ReadResult::failed;
  return static_cast<std::size_t>(came) == asked ? ReadResult::full : ReadResult::some;
}

ssize_t Receiver::read_ahead(std::size_t& asked) {
  if (begin_ > 0) {  // At most a part of a header lies here.
    std::memmove(ahead_.data(), ahead_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  asked = (last_bytes_ < large_bytes ? ahead_bytes : ahead_of_large_bytes) - end_;
  const ssize_t came = ::recv(socket_, ahead_.data() + end_, asked, MSG_DONTWAIT);
  if (came > 0) end_ += static_cast<std::size_t>(came);
  return came;
}

// The rest of a payload goes straight to its place, and what follows it is read in the same call.
ssize_t Receiver::read_payload(std::size_t& asked) {
  ACCL_ASSERT(begin_ == end_, begin_, end_);
  iovec vectors[2] = {{place_, left_}, {ahead_.data(), tail_bytes}};
  msghdr message{};
  message.msg_iov = vectors;
  message.msg_iovlen = 2;
  asked = left_ + tail_bytes;
  const ssize_t came = ::recvmsg(socket_, &message, MSG_DONTWAIT);
  if (came <= 0) return came;
  const std::size_t placed = std::min(static_cast<std::size_t>(came), left_);
  begin_ = 0;
  end_ = static_cast<std::size_t>(came) - placed;
  place_ += placed;
  left_ -= placed;
  if (left_ == 0) finish_message();
  return came;
}

bool Receiver::parse() {
  while (begin_ < end_) {
    const std::size_t before = begin_;
    if (left_ > 0) {
      take_payload();
    } else if (!parse_frame()) {
      return false;
    }
    if (begin_ == before) break;  // Part of a header.
  }
  return true;
}

void Receiver::take_payload() {
  const std::size_t bytes = std::min(left_, end_ - begin_);
  std::memcpy(place_, ahead_.data() + begin_, bytes);
  begin_ += bytes;
  place_ += bytes;
  left_ -= bytes;
  if (left_ == 0) finish_message();
}

// False, with a problem, for what no peer in its senses sends. Consumes nothing where the header
// is not whole yet.
bool Receiver::parse_frame() {
  const std::size_t bytes = end_ - begin_;
  if (bytes < sizeof(FrameStart)) return true;
  FrameStart start;
  std::memcpy(&start, ahead_.data() + begin_, sizeof start);
  const bool known = start.kind == FrameKind::data || start.kind == FrameKind::release;
  if (!known || start.lane >= lanes_.size()) {
    problem_ = fmt::format("it sent what is no frame (kind {:#x}, lane {} of {})",
                           static_cast<unsigned>(start.kind), start.lane, lanes_.size());
    return false;
  }
  if (start.kind == FrameKind::release) {
    begin_ += sizeof start;
    return start_release(start);
  }
  if (bytes < sizeof(DataFrame)) return true;
  DataFrame frame;
  std::memcpy(&frame, ahead_.data() + begin_, sizeof frame);
  begin_ += sizeof frame;
  return start_message(frame);
}

bool Receiver::start_release(const FrameStart& start) {
  LaneState& lane = lanes_[start.lane];
  const std::uint32_t known = lane.released.load(std::memory_order_relaxed);
  if (start.position - known > lane.put_until - known) {
    problem_ = fmt::format("it released lane {} until {}, where we have put only until {}",
                           start.lane, start.position, lane.put_until);
    return false;
  }
  lane.released.store(start.position, std::memory_order_release);
  return true;
}

bool Receiver::start_message(const DataFrame& frame) {
  LaneState& lane = lanes_[frame.start.lane];
  const std::uint32_t bytes = frame.head.bytes;
  const std::uint32_t advance = frame.start.position - lane.started;
  const bool fits = frame.offset % ring_unit_bytes == 0 &&
                    std::uint64_t{frame.offset} + payload_offset(bytes) + bytes <= ring_bytes_;
  if (!fits || advance < message_units(bytes) || advance > ring_bytes_ / ring_unit_bytes) {
    problem_ = fmt::format("it sent a message that cannot be (lane {}, {} bytes at {}, until {})",
                           frame.start.lane, bytes, frame.offset, frame.start.position);
    return false;
  }
  lane_ = frame.start.lane;
  lane.started = frame.start.position;
  std::byte* const message = inbox_.data() + std::size_t{lane_} * ring_bytes_ + frame.offset;
  std::memcpy(message, &frame.head, sizeof frame.head);
  const std::span<std::byte> target = claim_target(lane, frame.start.position, bytes);
  place_ = target.empty() ? message + payload_offset(bytes) : target.data();
  left_ = last_bytes_ = bytes;
  if (left_ == 0) finish_message();
  return true;
}

void Receiver::finish_message() {
  LaneState& lane = lanes_[lane_];
  lane.arrived.store(lane.started, std::memory_order_release);
}

// The target expected for this message, or nothing. A target of another size is left alone.
std::span<std::byte> Receiver::claim_target(LaneState& lane, std::uint32_t until,
                                            std::uint32_t bytes) {
  std::span<std::byte> target;
  for (Expectation& expectation : lane.expectations) {
    if (expectation.state != Expectation::State::waiting) continue;
    const bool hit = expectation.until == until && expectation.target.size() == bytes;
    if (hit) target = expectation.target;
    if (!is_before(until, expectation.until)) {
      expectation.state = hit ? Expectation::State::taken : Expectation::State::none;
    }
  }
  return target;
}

bool Receiver::expect(std::uint32_t lane, std::uint32_t until, std::span<std::byte> target) {
  ACCL_ASSERT(lane < lanes_.size(), lane);
  LaneState& state = lanes_[lane];
  Expectation& slot = state.expectations[state.next_expectation % max_expectations];
  if (!is_before(state.started, until) || target.empty()) return false;
  if (slot.state == Expectation::State::waiting) return false;  // As many as we can remember.
  slot = {Expectation::State::waiting, until, target};
  ++state.next_expectation;
  return true;
}

bool Receiver::took(std::uint32_t lane, std::uint32_t until) const {
  ACCL_ASSERT(lane < lanes_.size(), lane);
  return std::ranges::any_of(lanes_[lane].expectations, [&](const Expectation& expectation) {
    return expectation.state == Expectation::State::taken && expectation.until == until;
  });
}

}  // namespace accl::tcp
