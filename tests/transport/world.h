// world.h - some ranks, each with a connected socket to every other, as threads of this process or
// as processes of their own.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "accl/base/clock.h"
#include "accl/base/fd.h"
#include "accl/base/ids.h"
#include "transport/transport.h"

namespace accl::test {

using Meetings = std::map<std::uint32_t, Fd>;  // By peer.

enum class As : std::uint8_t { threads, processes };

// Runs `body` for every rank; returns when all have. A failure, exception or signal in any of them
// fails the test.
void run_ranks(std::uint32_t count, As as,
               const std::function<void(std::uint32_t me, Meetings meetings)>& body);

// Both ends of a unix domain stream.
std::pair<Fd, Fd> connected_pair();

constexpr Milliseconds patience{20000};  // Nobody needs so long; a hang becomes a failure.

// A transport and its one endpoint, both halves joined, in this thread.
struct Joined {
  std::unique_ptr<Transport> transport;
  std::unique_ptr<Endpoint> endpoint;
};
std::pair<Joined, Joined> open_pair(std::unique_ptr<Transport> first,
                                    std::unique_ptr<Transport> second);  // Not finished.
std::pair<Joined, Joined> join_pair(std::unique_ptr<Transport> first,
                                    std::unique_ptr<Transport> second);

}  // namespace accl::test
