#include "accl/bootstrap/desk.h"

#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cerrno>

#include "accl/base/error.h"

namespace accl::bootstrap {
namespace {

bool other_end_is_there(const Fd& socket) {
  char byte = 0;
  const ssize_t got = recv(socket.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

}  // namespace

Desk::Bell::Bell(Desk& desk) : desk_(desk), event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!event_) fail_system("cannot make an event descriptor (see ulimit -n)", errno);
  const std::lock_guard lock(desk_.mutex_);
  desk_.bells_.insert(this);
}

Desk::Bell::~Bell() {
  const std::lock_guard lock(desk_.mutex_);
  desk_.bells_.erase(this);
}

void Desk::Bell::clear() {
  std::uint64_t count = 0;
  static_cast<void>(read(event_.get(), &count, sizeof count));
}

void Desk::leave(std::uint32_t from, std::uint64_t topic, Fd socket) {
  {
    const std::lock_guard lock(mutex_);
    sockets_[{from, topic}].push_back(std::move(socket));
  }
  ring();
}

Fd Desk::take(std::uint32_t from, std::uint64_t topic) {
  const std::lock_guard lock(mutex_);
  const auto found = sockets_.find({from, topic});
  if (found == sockets_.end()) return {};
  Fd socket;
  while (!found->second.empty() && !socket) {
    if (other_end_is_there(found->second.front())) socket = std::move(found->second.front());
    found->second.pop_front();
  }
  if (found->second.empty()) sockets_.erase(found);
  return socket;
}

void Desk::await(std::uint64_t topic, const Awaited& guest) {
  const std::lock_guard lock(mutex_);
  std::vector<Awaited>& guests = awaited_[topic];
  std::erase_if(guests, [&](const Awaited& other) { return other.rank == guest.rank; });
  guests.push_back(guest);
}

void Desk::met(std::uint64_t topic, std::uint32_t rank) {
  const std::lock_guard lock(mutex_);
  const auto found = awaited_.find(topic);
  if (found == awaited_.end()) return;
  std::erase_if(found->second, [rank](const Awaited& guest) { return guest.rank == rank; });
  if (found->second.empty()) awaited_.erase(found);
}

std::vector<Desk::Awaited> Desk::awaited(std::uint64_t topic) const {
  const std::lock_guard lock(mutex_);
  const auto found = awaited_.find(topic);
  return found == awaited_.end() ? std::vector<Awaited>{} : found->second;
}

void Desk::set_absent(std::uint32_t rank, const std::string& why) {
  {
    const std::lock_guard lock(mutex_);
    absent_.emplace(rank, why);
  }
  ring();
}

std::optional<std::string> Desk::absence(std::uint32_t rank) const {
  const std::lock_guard lock(mutex_);
  const auto found = absent_.find(rank);
  if (found == absent_.end()) return std::nullopt;
  return found->second;
}

void Desk::ring() {
  const std::lock_guard lock(mutex_);
  const std::uint64_t one = 1;
  for (const Bell* bell : bells_) static_cast<void>(write(bell->fd(), &one, sizeof one));
}

}  // namespace accl::bootstrap
