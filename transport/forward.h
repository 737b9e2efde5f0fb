// forward.h - endpoints and transports that hand every call on to another one: what decorators
// start from. A decorator overrides only what it changes.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "transport/transport.h"

namespace accl {

class ForwardEndpoint : public Endpoint {
 public:
  explicit ForwardEndpoint(std::unique_ptr<Endpoint> inner) : inner_(std::move(inner)) {}

  void finish(const Deadline& deadline) override { inner_->finish(deadline); }
  LaneCounters counters(std::uint32_t lane) const override { return inner_->counters(lane); }
  std::byte* outbox(std::uint32_t lane) override { return inner_->outbox(lane); }
  const std::byte* inbox(std::uint32_t lane) const override { return inner_->inbox(lane); }
  // What arrives by cell is passed on; sending is by put(), which decorators see.
  Cells cells(std::uint32_t lane) override {
    Cells cells = inner_->cells(lane);
    cells.out = nullptr;
    return cells;
  }
  void changed_cell() override { inner_->changed_cell(); }
  bool put(std::uint32_t lane, const Parcel& parcel) override { return inner_->put(lane, parcel); }
  void release(std::uint32_t lane, std::uint32_t position) override {
    inner_->release(lane, position);
  }
  bool tells_along() const override { return inner_->tells_along(); }
  bool expect(std::uint32_t lane, std::uint32_t until, std::span<std::byte> target) override {
    return inner_->expect(lane, until, target);
  }
  bool took(std::uint32_t lane, std::uint32_t until) const override {
    return inner_->took(lane, until);
  }
  void withdraw() override { inner_->withdraw(); }
  const std::byte* view(const RegionKey& key, std::uint64_t offset, std::uint64_t bytes) override {
    return inner_->view(key, offset, bytes);
  }
  bool is_viewable() const override { return inner_->is_viewable(); }
  std::string path() const override { return inner_->path(); }
  std::optional<Stall> stall() const override { return inner_->stall(); }
  std::string failure() const override { return inner_->failure(); }
  bool broken() const override { return inner_->broken(); }

 protected:
  Endpoint& inner() { return *inner_; }
  const Endpoint& inner() const { return *inner_; }

 private:
  std::unique_ptr<Endpoint> inner_;
};

class ForwardTransport : public Transport {
 public:
  explicit ForwardTransport(std::unique_ptr<Transport> inner) : inner_(std::move(inner)) {}

  const char* name() const override { return inner_->name(); }
  std::unique_ptr<Endpoint> open(Rank peer, Fd meeting) override {
    return inner_->open(peer, std::move(meeting));
  }
  std::unique_ptr<Region> add(const Memory& memory) override { return inner_->add(memory); }
  bool poll() override { return inner_->poll(); }
  int event_fd() const override { return inner_->event_fd(); }
  bool arm() override { return inner_->arm(); }
  void disarm() override { inner_->disarm(); }

 protected:
  Transport& inner() { return *inner_; }

 private:
  std::unique_ptr<Transport> inner_;
};

}  // namespace accl
