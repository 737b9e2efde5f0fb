// desk.h - where what the session's thread gets is handed to the threads that wait in meet():
// sockets of peers that came, and the news that a peer will not come. Every member function may be
// called by any thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "accl/base/clock.h"
#include "accl/base/fd.h"

namespace accl::bootstrap {

class Desk {
 public:
  // While it lives, fd() is readable whenever something new may be at the desk.
  class Bell {
   public:
    explicit Bell(Desk& desk);  // Throws Error(system).
    ~Bell();
    Bell(const Bell&) = delete;
    Bell& operator=(const Bell&) = delete;

    int fd() const { return event_.get(); }
    void clear();

   private:
    friend class Desk;
    Desk& desk_;
    Fd event_;
  };

  void leave(std::uint32_t from, std::uint64_t topic, Fd socket);

  // The oldest socket from this rank on this topic whose other end is still there; else empty.
  Fd take(std::uint32_t from, std::uint64_t topic);

  // Who is awaited in a meeting, and which way the connection would take: from await() until met(),
  // or for ever where it never comes.
  struct Awaited {
    std::uint32_t rank = 0;
    std::string path;
    Clock::time_point since;
  };
  void await(std::uint64_t topic, const Awaited& guest);
  void met(std::uint64_t topic, std::uint32_t rank);
  std::vector<Awaited> awaited(std::uint64_t topic) const;

  // Why this rank will never come: the first sentence counts.
  void set_absent(std::uint32_t rank, const std::string& why);
  std::optional<std::string> absence(std::uint32_t rank) const;

  // Wakes everybody who waits with a bell.
  void ring();

 private:
  mutable std::mutex mutex_;  // Of all that follows.
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::deque<Fd>> sockets_;
  std::map<std::uint64_t, std::vector<Awaited>> awaited_;  // By topic.
  std::map<std::uint32_t, std::string> absent_;
  std::set<Bell*> bells_;
};

}  // namespace accl::bootstrap
