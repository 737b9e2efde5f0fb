#include "transport/tcp/sender.h"

#include <sys/socket.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "accl/base/assert.h"

namespace accl::tcp {
namespace {

constexpr std::uint32_t message_slots = 128;
constexpr std::uint32_t piece_slots = 1024;
static_assert(max_pieces <= piece_slots);

// Copying so little is cheaper than having the kernel walk a list of pieces.
constexpr std::uint32_t small_payload_bytes = 512;

// Vectors of one system call: front and pieces.
constexpr std::size_t vectors_per_call = 64;

}  // namespace

Sender::Sender(int socket, std::span<LaneState> lanes)
    : socket_(socket), lanes_(lanes), messages_(message_slots), pieces_(piece_slots) {
  static_assert(sizeof front_ >=
                max_lanes * sizeof(FrameStart) + sizeof(DataFrame) + small_payload_bytes);
}

bool Sender::put(std::uint32_t lane, const Parcel& parcel) {
  ACCL_ASSERT(lane < lanes_.size() && parcel.pieces.size() <= max_pieces, lane,
              parcel.pieces.size());
  const auto pieces = static_cast<std::uint32_t>(parcel.pieces.size());
  const bool full = queued_messages() == message_slots || queued_pieces() + pieces > piece_slots;
  if (full || error_ != 0) return false;

  const bool was_idle = !queued();
  Message& message = messages_[message_tail_ % message_slots];
  message.frame.start = {FrameKind::data, static_cast<std::uint16_t>(lane), parcel.until};
  message.frame.offset = parcel.offset;
  message.frame.head = parcel.head;
  message.pieces = 0;
  std::size_t bytes = 0;
  for (const auto piece : parcel.pieces) {
    if (piece.empty()) continue;
    // The kernel only reads them; iovec has no const.
    pieces_[piece_tail_ % piece_slots] = {const_cast<std::byte*>(piece.data()), piece.size()};
    ++piece_tail_;
    ++message.pieces;
    bytes += piece.size();
  }
  ACCL_ASSERT(bytes == parcel.head.bytes, bytes, parcel.head.bytes);
  ++message_tail_;
  lanes_[lane].put_until = parcel.until;
  if (was_idle) flush();
  return true;
}

void Sender::release(std::uint32_t lane, std::uint32_t position) {
  ACCL_ASSERT(lane < lanes_.size(), lane);
  lanes_[lane].freed = position;
  dirty_ |= std::uint64_t{1} << lane;
}

bool Sender::flush() {
  bool moved = false;
  while (error_ == 0 && compose()) {
    std::array<iovec, vectors_per_call> vectors;
    std::size_t offered = 0;
    const std::size_t count = gather(vectors, offered);
    msghdr message{};
    message.msg_iov = vectors.data();
    message.msg_iovlen = count;
    constexpr int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    const ssize_t taken = count == 1 ? ::send(socket_, vectors[0].iov_base, offered, flags)
                                     : ::sendmsg(socket_, &message, flags);
    if (taken < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return moved;
    if (taken < 0 && errno == EINTR) continue;
    if (taken < 0) {
      error_ = errno;
      message_head_ = message_tail_;
      piece_head_ = piece_tail_;
      front_begin_ = front_end_ = 0;
      return true;
    }
    moved = advance(static_cast<std::size_t>(taken)) || moved;
    if (static_cast<std::size_t>(taken) < offered) return moved;  // The socket is full.
  }
  return moved;
}

// Makes the next front where the last one is gone. False where there is nothing to send.
bool Sender::compose() {
  if (front_begin_ < front_end_ || front_has_message_) return true;
  front_begin_ = front_end_ = 0;
  if (dirty_ != 0) append_releases();
  if (queued_messages() > 0) {
    Message& message = messages_[message_head_ % message_slots];
    front_has_message_ = true;
    append(&message.frame, sizeof message.frame);
    if (message.frame.head.bytes <= small_payload_bytes) append_small_payload(message);
  }
  return front_end_ > 0;
}

void Sender::append_releases() {
  for (; dirty_ != 0; dirty_ &= dirty_ - 1) {
    const auto lane = static_cast<std::uint16_t>(std::countr_zero(dirty_));
    const FrameStart frame{FrameKind::release, lane, lanes_[lane].freed};
    append(&frame, sizeof frame);
  }
}

void Sender::append(const void* data, std::size_t bytes) {
  std::memcpy(front_.data() + front_end_, data, bytes);
  front_end_ += bytes;
}

void Sender::append_small_payload(Message& message) {
  for (; message.pieces > 0; --message.pieces, ++piece_head_) {
    const iovec& piece = pieces_[piece_head_ % piece_slots];
    append(piece.iov_base, piece.iov_len);
  }
}

// The front and as many pieces of its message as fit; returns how many vectors.
std::size_t Sender::gather(std::span<iovec> vectors, std::size_t& bytes) const {
  std::size_t count = 0;
  bytes = 0;
  if (front_begin_ < front_end_) {
    // The kernel only reads it.
    auto* front = const_cast<std::byte*>(front_.data());
    bytes = front_end_ - front_begin_;
    vectors[count++] = {front + front_begin_, bytes};
  }
  if (!front_has_message_) return count;
  const Message& message = messages_[message_head_ % message_slots];
  for (std::uint32_t i = 0; i < message.pieces && count < vectors.size(); ++i) {
    const iovec& piece = pieces_[(piece_head_ + i) % piece_slots];
    vectors[count++] = piece;
    bytes += piece.iov_len;
  }
  return count;
}

// The kernel has taken so many bytes. True where that ended a message.
bool Sender::advance(std::size_t bytes) {
  const std::size_t of_front = std::min(bytes, front_end_ - front_begin_);
  front_begin_ += of_front;
  bytes -= of_front;
  if (!front_has_message_) return false;
  Message& message = messages_[message_head_ % message_slots];
  while (bytes > 0) {
    iovec& piece = pieces_[piece_head_ % piece_slots];
    const std::size_t of_piece = std::min(bytes, piece.iov_len);
    piece.iov_base = static_cast<std::byte*>(piece.iov_base) + of_piece;
    piece.iov_len -= of_piece;
    bytes -= of_piece;
    if (piece.iov_len > 0) break;
    ++piece_head_;
    --message.pieces;
  }
  if (front_begin_ < front_end_ || message.pieces > 0) return false;
  const FrameStart& start = message.frame.start;
  lanes_[start.lane].sent.store(start.position, std::memory_order_release);
  front_has_message_ = false;
  ++message_head_;
  return true;
}

}  // namespace accl::tcp
