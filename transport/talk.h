// talk.h - what two ranks say to each other over their meeting socket: records whose sizes both
// know. Nothing here waits. The end of the socket tells of a peer that left or died.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "accl/base/fd.h"

namespace accl {

class Talk {
 public:
  explicit Talk(Fd socket) : socket_(std::move(socket)) {}

  int file() const { return socket_.get(); }

  // What is said must fit into the buffer of the socket. Gives what is wrong in words; empty:
  // nothing.
  std::string say(std::span<const std::byte> words);

  // The size of the record to come, which forgets the last one; 0: only the end can come.
  void await(std::size_t bytes);
  // Reads what is there. True once the record is whole; it stays so until the next await().
  bool listen();
  std::span<const std::byte> words() const { return words_; }

  // The peer closed its end, or the connection broke: the reason in words, "closed by it".
  const std::optional<std::string>& end() const { return end_; }

  // Tells the peer that nothing follows; then forgets the socket.
  void shut();
  void close() { socket_.reset(); }

 private:
  Fd socket_;
  std::vector<std::byte> words_;
  std::size_t have_ = 0;
  std::optional<std::string> end_;
};

}  // namespace accl
