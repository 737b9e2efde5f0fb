// watch_list.h - the communicators that are being watched, and the verdicts that concern them. Any
// thread may call; the session's thread delivers.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "accl/base/error.h"
#include "accl/bootstrap/facts.h"
#include "accl/bootstrap/session.h"
#include "accl/bootstrap/watch.h"

namespace accl::bootstrap {

// What the list asks of a watch: both are called under the list's lock.
class Watched {
 public:
  virtual ~Watched() = default;
  virtual RankState state() const = 0;
  virtual void fail(const Error& error) = 0;  // The first one sticks.
  virtual std::optional<Error> failure() const = 0;
  virtual std::span<const std::uint32_t> ranks() const = 0;
};

class WatchList {
 public:
  explicit WatchList(std::span<const Member> members) : members_(members) {}

  // Verdicts that came earlier are delivered at once.
  void add(std::uint64_t topic, Watched& watched);
  void remove(std::uint64_t topic);

  RankState state_of(std::uint64_t topic) const;
  std::optional<Error> failure_of(std::uint64_t topic) const;

  void apply(const Verdict& verdict);

 private:
  void deliver(const Verdict& verdict, std::uint64_t topic, Watched& watched) const;

  const std::span<const Member> members_;
  mutable std::mutex mutex_;
  std::map<std::uint64_t, Watched*> watches_;
  std::vector<Verdict> verdicts_;
};

}  // namespace accl::bootstrap
