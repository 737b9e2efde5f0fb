#include "transport/trace/trace.h"

#include <utility>

#include "accl/base/log.h"
#include "transport/forward.h"

namespace accl {
namespace {

using Row = TransportCounters::Row;

// One thread writes, others may read.
void add_to(std::atomic<std::uint64_t>& counter, std::uint64_t value) {
  counter.store(counter.load(std::memory_order_relaxed) + value, std::memory_order_relaxed);
}

class TraceEndpoint : public ForwardEndpoint {
 public:
  TraceEndpoint(std::unique_ptr<Endpoint> inner, std::shared_ptr<Row> row, const char* name)
      : ForwardEndpoint(std::move(inner)), row_(std::move(row)), name_(name) {}

  void finish(const Deadline& deadline) override {
    inner().finish(deadline);
    log(LogLevel::trace, "{}: joined rank {}", name_, peer());
  }

  bool put(std::uint32_t lane, const Parcel& parcel) override {
    if (!inner().put(lane, parcel)) {
      add_to(row_->puts_refused, 1);
      return false;
    }
    add_to(row_->messages, 1);
    add_to(row_->bytes, parcel.head.bytes);
    log(LogLevel::trace, "{}: put to rank {} lane {}: {} bytes, tag {:#x}, until {}", name_, peer(),
        lane, parcel.head.bytes, parcel.head.tag, parcel.until);
    if (parcel.freed) log_release(lane, *parcel.freed);
    return true;
  }

  void release(std::uint32_t lane, std::uint32_t position) override {
    add_to(row_->releases, 1);
    log_release(lane, position);
    inner().release(lane, position);
  }

 private:
  std::uint32_t peer() const { return index(row_->peer); }
  void log_release(std::uint32_t lane, std::uint32_t position) const {
    log(LogLevel::trace, "{}: release to rank {} lane {}: until {}", name_, peer(), lane, position);
  }

  std::shared_ptr<Row> row_;
  const char* name_;
};

class TraceTransport : public ForwardTransport {
 public:
  TraceTransport(std::unique_ptr<Transport> inner, std::shared_ptr<TransportCounters> counters)
      : ForwardTransport(std::move(inner)), counters_(std::move(counters)) {}

  std::unique_ptr<Endpoint> open(Rank peer, Fd meeting) override {
    auto endpoint = inner().open(peer, std::move(meeting));
    return std::make_unique<TraceEndpoint>(std::move(endpoint), counters_->add(peer), name());
  }

 private:
  std::shared_ptr<TransportCounters> counters_;
};

}  // namespace

std::vector<PeerCounters> TransportCounters::read() const {
  const std::lock_guard lock(mutex_);
  std::vector<PeerCounters> counters;
  for (const auto& row : rows_) {
    counters.push_back({row->peer, row->messages.load(std::memory_order_relaxed),
                        row->bytes.load(std::memory_order_relaxed),
                        row->puts_refused.load(std::memory_order_relaxed),
                        row->releases.load(std::memory_order_relaxed)});
  }
  return counters;
}

std::shared_ptr<Row> TransportCounters::add(Rank peer) {
  const std::lock_guard lock(mutex_);
  rows_.push_back(std::make_shared<Row>());
  rows_.back()->peer = peer;
  return rows_.back();
}

std::unique_ptr<Transport> make_trace_transport(std::unique_ptr<Transport> inner,
                                                std::shared_ptr<TransportCounters> counters) {
  return std::make_unique<TraceTransport>(std::move(inner), std::move(counters));
}

}  // namespace accl
