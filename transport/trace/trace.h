// trace.h - a transport that says and counts what it is asked to carry, and leaves everything else
// to the transport inside it. Lines go to the log at level trace.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "transport/transport.h"

namespace accl {

// What one endpoint was asked to do, in the direction from us to the peer.
struct PeerCounters {
  Rank peer{};
  std::uint64_t messages = 0;      // Put and accepted.
  std::uint64_t bytes = 0;         // Of their payloads.
  std::uint64_t puts_refused = 0;  // The queue was full.
  std::uint64_t releases = 0;      // But for those that went along with a message.
};

// Outlives the transport it belongs to; may be read from any thread at any time.
class TransportCounters {
 public:
  std::vector<PeerCounters> read() const;  // One entry for each open(), in that order.

  // For the tracing endpoint.
  struct Row {
    Rank peer{};
    std::atomic<std::uint64_t> messages{0}, bytes{0}, puts_refused{0}, releases{0};
  };
  std::shared_ptr<Row> add(Rank peer);

 private:
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<Row>> rows_;
};

std::unique_ptr<Transport> make_trace_transport(std::unique_ptr<Transport> inner,
                                                std::shared_ptr<TransportCounters> counters);

}  // namespace accl
