// sender.h - the sending half of a tcp endpoint: a bounded queue of messages in front of a socket
// that may take any part of them at any time.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "transport/tcp/frame.h"

namespace accl::tcp {

class Sender {
 public:
  Sender(int socket, std::span<LaneState> lanes);

  // Sends at once what the socket takes, and queues the rest. False where the queue is full.
  bool put(std::uint32_t lane, const Parcel& parcel);
  void release(std::uint32_t lane, std::uint32_t position);

  // Gives the socket what it takes. True where `sent` of a lane moved or the socket failed.
  bool flush();

  // Something waits for room in the socket.
  bool queued() const { return queued_messages() > 0 || front_begin_ < front_end_; }
  // Something waits for flush().
  bool waiting() const { return dirty_ != 0 || queued(); }

  // After an error nothing is sent any more; what was queued is gone.
  int error() const { return error_; }

 private:
  struct Message {
    DataFrame frame{};
    std::uint32_t pieces = 0;
  };

  std::uint32_t queued_messages() const { return message_tail_ - message_head_; }
  std::uint32_t queued_pieces() const { return piece_tail_ - piece_head_; }
  bool compose();
  void append_releases();
  void append(const void* data, std::size_t bytes);
  void append_small_payload(Message& message);
  std::size_t gather(std::span<iovec> vectors, std::size_t& bytes) const;
  bool advance(std::size_t bytes);

  int socket_;
  std::span<LaneState> lanes_;
  std::uint64_t dirty_ = 0;  // Lanes whose `freed` the peer was not told.
  int error_ = 0;

  // Rings; indices run on and are masked on use.
  std::vector<Message> messages_;
  std::vector<iovec> pieces_;
  std::uint32_t message_head_ = 0, message_tail_ = 0;
  std::uint32_t piece_head_ = 0, piece_tail_ = 0;

  // The front of the stream: releases, then the header of the first queued message (and its
  // payload where that is small), made when the frames before it have gone. So a release overtakes
  // all messages but the one under way.
  bool front_has_message_ = false;
  std::size_t front_begin_ = 0, front_end_ = 0;
  std::array<std::byte, 2048> front_{};
};

}  // namespace accl::tcp
