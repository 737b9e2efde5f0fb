// frame_socket.h - a non-blocking stream socket that carries frames: length, type, payload. Bounded
// on input by frame_bytes_limit; on output by what its owner queues.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "accl/base/clock.h"
#include "accl/base/fd.h"
#include "accl/bootstrap/wire.h"

namespace accl::bootstrap {

// A whole frame, ready to be sent to many.
using Packet = std::shared_ptr<const std::string>;
Packet make_packet(FrameType type, std::string_view payload);

class FrameSocket {
 public:
  FrameSocket() = default;
  explicit FrameSocket(Fd socket) : socket_(std::move(socket)) {}

  int fd() const { return socket_.get(); }

  // Sends in order what the socket takes now; append() leaves that to the next flush(), so that
  // many small frames leave together. Nothing happens on a socket that has ended.
  void append(const Packet& packet);
  void queue(const Packet& packet);
  void flush();
  bool wants_output() const { return !out_.empty() && !ended(); }

  // Reads all there is, up to a bound for one call. Frames read before the end are still given by
  // next().
  void receive();

  // The next whole frame; its payload is valid until the next call of next() or receive().
  std::optional<Frame> next();

  // The stream is over (the peer closed it, it broke, or it sent what cannot be); error() is the
  // system's number for that, 0 for a plain end.
  bool ended() const { return ended_; }
  int error() const { return error_; }

  // For a thread with nothing else to do: the next frame, or none at the end or the deadline.
  std::optional<Frame> wait_frame(const Deadline& deadline);

 private:
  void end(int error);
  void take_off(std::size_t bytes);

  Fd socket_;
  std::string in_;
  std::size_t used_ = 0;  // Bytes of in_ that next() has given away.
  std::deque<Packet> out_;
  std::size_t sent_ = 0;  // Of the first packet in out_.
  bool ended_ = false;
  int error_ = 0;
};

}  // namespace accl::bootstrap
