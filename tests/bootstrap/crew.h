// crew.h - real processes for tests: forks one per rank, talks with each over two pipes, collects
// what each says at the end, and leaves none behind.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "accl/base/error.h"
#include "accl/base/fd.h"
#include "accl/bootstrap/session.h"

namespace accl::test {

// The child's end.
class Stage {
 public:
  Stage(std::uint32_t rank, Fd in, Fd out)
      : rank_(rank), in_(std::move(in)), out_(std::move(out)) {}
  std::uint32_t rank() const { return rank_; }
  void say(const std::string& line);  // To the test.
  std::string hear();                 // From the test; empty when that is gone.

 private:
  std::uint32_t rank_;
  Fd in_;
  Fd out_;
};

class Crew {
 public:
  // Its result is the last line the test hears; an Error becomes "error: KIND: TEXT".
  using Body = std::function<std::string(Stage& stage)>;

  Crew(std::uint32_t ranks, const Body& body);
  ~Crew();
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  std::uint32_t size() const { return static_cast<std::uint32_t>(hands_.size()); }
  pid_t pid(std::uint32_t rank) const { return hands_[rank].pid; }
  void signal(std::uint32_t rank, int number) const;
  void stop(std::uint32_t rank) const;  // SIGSTOP, and waits until it has stopped.

  // The next line of a rank; "(silence)" after the time, "(gone)" where it ended.
  std::string hear(std::uint32_t rank, int timeout_ms = 20000);
  void tell(std::uint32_t rank, const std::string& line) const;

  // One line from each.
  std::vector<std::string> hear_all(int timeout_ms = 20000);
  void tell_all(const std::string& line) const;

 private:
  struct Hand {
    pid_t pid = -1;
    Fd to;
    Fd from;
    std::string text;
  };

  std::vector<Hand> hands_;
};

// A port of 127.0.0.1 that nobody listens at.
std::uint16_t free_port();

// An id whose root rank 0 opens at a free port of this host; a new one on every call.
UniqueId fresh_id(const std::string& host = "127.0.0.1");

JoinOptions options_for(const UniqueId& id, std::uint32_t rank, std::uint32_t size,
                        int timeout_ms = 20000);

// "error: 5: text".
std::string text_of(const Error& error);

std::size_t open_descriptors();

}  // namespace accl::test
