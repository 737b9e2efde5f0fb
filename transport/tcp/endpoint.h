// endpoint.h - one peer over one socket: greeting, life and death of the connection, and the two
// halves that carry frames.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "transport/lazy_memory.h"
#include "transport/tcp/path.h"
#include "transport/tcp/receiver.h"
#include "transport/tcp/sender.h"
#include "transport/tcp/tcp.h"

namespace accl::tcp {

class TcpEndpoint;

// What the endpoints of a transport share; it lives as long as the last of them.
struct Hub {
  Geometry geometry;
  TcpOptions options;
  Fd epoll;
  Paths paths;
  std::vector<TcpEndpoint*> endpoints;  // Those that finished, broken ones too.
  bool armed = false;
  bool news = false;  // Something changed outside of poll(): nobody may fall asleep over it.
};

class TcpEndpoint : public Endpoint {
 public:
  TcpEndpoint(std::shared_ptr<Hub> hub, Rank peer, Fd socket);
  ~TcpEndpoint() override;

  void finish(const Deadline& deadline) override;
  LaneCounters counters(std::uint32_t lane) const override;
  std::byte* outbox(std::uint32_t lane) override;
  const std::byte* inbox(std::uint32_t lane) const override;
  bool put(std::uint32_t lane, const Parcel& parcel) override;
  void release(std::uint32_t lane, std::uint32_t position) override;
  bool expect(std::uint32_t lane, std::uint32_t until, std::span<std::byte> target) override;
  bool took(std::uint32_t lane, std::uint32_t until) const override;
  const std::byte* view(const RegionKey& key, std::uint64_t offset, std::uint64_t bytes) override;
  std::string path() const override { return path_; }
  std::optional<Stall> stall() const override;
  std::string failure() const override { return failure_; }
  bool broken() const override { return broken_; }

  // For the transport. poll_out gives the socket what waits; poll_in reads it.
  void poll_out();
  void poll_in();
  void prepare_sleep();
  void end_sleep();

 private:
  std::string connection() const;
  void send_greeting();
  void read_greeting(const Deadline& deadline);
  void watch(std::uint32_t events, int operation);
  void flush();
  void wake_at(std::size_t bytes);
  void fail_with(const std::string& reason);

  std::shared_ptr<Hub> hub_;
  Rank peer_;
  Fd socket_;
  const std::string path_;  // Of the open connection: a broken one no longer knows its peer.
  std::unique_ptr<LaneState[]> lane_states_;
  std::span<LaneState> lanes_;
  LazyMemory inbox_;
  Sender sender_;
  Receiver receiver_;
  bool watches_output_ = false;
  int wakes_at_ = 1;  // So many bytes to read make the socket readable.
  bool broken_ = false;
  std::string failure_;
};

}  // namespace accl::tcp
