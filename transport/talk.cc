#include "transport/talk.h"

#include <sys/socket.h>

#include <cerrno>
#include <system_error>

namespace accl {

std::string Talk::say(std::span<const std::byte> words) {
  const ssize_t sent =
      ::send(socket_.get(), words.data(), words.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent == static_cast<ssize_t>(words.size())) return {};
  return sent < 0 ? std::generic_category().message(errno) : "its connection takes no data";
}

void Talk::await(std::size_t bytes) {
  words_.assign(bytes, std::byte{});
  have_ = 0;
}

bool Talk::listen() {
  while (socket_ && !end_) {
    const std::size_t wanted = words_.size() - have_;
    if (wanted == 0 && have_ > 0) return true;
    std::byte beyond{};  // After the last record only the end can come.
    std::byte* const to = wanted > 0 ? words_.data() + have_ : &beyond;
    const ssize_t came = ::recv(socket_.get(), to, wanted > 0 ? wanted : 1, MSG_DONTWAIT);
    if (came < 0 && errno == EINTR) continue;
    if (came < 0 && errno == EAGAIN) return false;
    if (came < 0) end_ = std::generic_category().message(errno);
    if (came == 0) end_ = "closed by it";
    if (came > 0 && wanted > 0) have_ += static_cast<std::size_t>(came);
  }
  return have_ > 0 && have_ == words_.size();
}

void Talk::shut() {
  if (socket_) ::shutdown(socket_.get(), SHUT_RDWR);
}

}  // namespace accl
