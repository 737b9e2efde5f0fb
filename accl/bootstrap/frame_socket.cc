#include "accl/bootstrap/frame_socket.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace accl::bootstrap {
namespace {

constexpr std::size_t header_bytes = 5;
constexpr std::size_t packets_per_send = 64;
constexpr int reads_per_call = 64;  // So that one busy peer does not starve the others.

}  // namespace

Packet make_packet(FrameType type, std::string_view payload) {
  Writer writer;
  writer.number(static_cast<std::uint32_t>(payload.size()));
  writer.number(static_cast<std::uint8_t>(type)).raw(payload);
  return std::make_shared<const std::string>(writer.take());
}

void FrameSocket::append(const Packet& packet) {
  if (!ended_) out_.push_back(packet);
}

void FrameSocket::queue(const Packet& packet) {
  append(packet);
  flush();
}

void FrameSocket::flush() {
  while (!out_.empty() && !ended_) {
    std::array<iovec, packets_per_send> pieces;
    const std::size_t count = std::min(out_.size(), pieces.size());
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t skip = i == 0 ? sent_ : 0;
      pieces[i] = {const_cast<char*>(out_[i]->data()) + skip, out_[i]->size() - skip};
    }
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = count;
    const ssize_t sent = sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && (errno == EAGAIN || errno == ENOTCONN)) return;
    if (sent < 0) {
      // What the peer sent before it went must still be read: receive() finds the end.
      out_.clear();
      sent_ = 0;
      return;
    }
    take_off(static_cast<std::size_t>(sent));
  }
}

void FrameSocket::take_off(std::size_t bytes) {
  sent_ += bytes;
  while (!out_.empty() && sent_ >= out_.front()->size()) {
    sent_ -= out_.front()->size();
    out_.pop_front();
  }
}

void FrameSocket::receive() {
  in_.erase(0, used_);
  used_ = 0;
  std::array<char, 16384> chunk;
  for (int i = 0; i < reads_per_call && !ended_; ++i) {
    const ssize_t got = recv(socket_.get(), chunk.data(), chunk.size(), 0);
    if (got > 0) in_.append(chunk.data(), static_cast<std::size_t>(got));
    if (got > 0 || (got < 0 && errno == EINTR)) continue;
    if (got < 0 && errno == EAGAIN) return;
    end(got == 0 ? 0 : errno);
  }
}

// A length that no frame of ours has ends the stream: what follows could not be trusted either.
std::optional<Frame> FrameSocket::next() {
  const std::string_view rest = std::string_view(in_).substr(used_);
  Reader reader(rest);
  const auto bytes = reader.number<std::uint32_t>();
  if (reader.good() && bytes > frame_bytes_limit) {
    end(EPROTO);
    used_ = in_.size();
    return std::nullopt;
  }
  const auto type = static_cast<FrameType>(reader.number<std::uint8_t>());
  const std::string_view payload = reader.raw(bytes);
  if (!reader.good()) return std::nullopt;
  used_ += header_bytes + bytes;
  return Frame{type, payload};
}

std::optional<Frame> FrameSocket::wait_frame(const Deadline& deadline) {
  while (true) {
    if (const std::optional<Frame> frame = next()) return frame;
    if (ended_) return std::nullopt;
    const short events = wants_output() ? POLLIN | POLLOUT : POLLIN;
    pollfd wait{socket_.get(), events, 0};
    const int ready = poll(&wait, 1, deadline.left_ms());
    if (ready == 0 && deadline.passed()) return std::nullopt;
    flush();
    receive();
  }
}

void FrameSocket::end(int error) {
  ended_ = true;
  error_ = error;
  out_.clear();
}

}  // namespace accl::bootstrap
