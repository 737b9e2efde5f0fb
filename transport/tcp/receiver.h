// receiver.h - the receiving half of a tcp endpoint: turns whatever the socket gives into messages
// at their places and counters that say so. Nothing a peer sends can make it write elsewhere.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "transport/tcp/frame.h"

namespace accl::tcp {

enum class ReadResult : std::uint8_t {
  nothing,  // The socket is empty.
  some,     // Something came; the socket is empty now.
  full,     // As much came as was asked for: there may be more.
  closed,   // The peer has closed its end.
  failed,   // problem() says how.
};

class Receiver {
 public:
  // `inbox` holds lanes.size() rings of ring_bytes.
  Receiver(int socket, std::span<LaneState> lanes, std::span<std::byte> inbox,
           std::uint32_t ring_bytes);

  ReadResult read();                          // One system call.
  std::size_t left() const { return left_; }  // Of the payload that is being read.
  const std::string& problem() const { return problem_; }

  bool expect(std::uint32_t lane, std::uint32_t until, std::span<std::byte> target);
  bool took(std::uint32_t lane, std::uint32_t until) const;

 private:
  ssize_t read_ahead(std::size_t& asked);
  ssize_t read_payload(std::size_t& asked);
  bool parse();
  bool parse_frame();
  bool start_release(const FrameStart& start);
  bool start_message(const DataFrame& frame);
  std::span<std::byte> claim_target(LaneState& lane, std::uint32_t until, std::uint32_t bytes);
  void take_payload();
  void finish_message();

  int socket_;
  std::span<LaneState> lanes_;
  std::span<std::byte> inbox_;
  std::uint32_t ring_bytes_;
  std::string problem_;

  // Bytes read and not yet understood.
  std::vector<std::byte> ahead_;
  std::size_t begin_ = 0, end_ = 0;

  // The message under way, where left_ > 0.
  std::byte* place_ = nullptr;
  std::size_t left_ = 0;
  std::uint32_t lane_ = 0;
  std::uint32_t last_bytes_ = 0;  // Of the last message, whole or not.
};

}  // namespace accl::tcp
