// loop.h - an endpoint that is its own peer: what is put is there at once. For tests and benchmarks
// of what lies above transports, with nothing but memory below it.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "transport/transport.h"

namespace accl {

enum class LoopKind : std::uint8_t { pull, pull_cells_in, pull_cells, push, push_tells };

class LoopEndpoint final : public Endpoint {
 public:
  explicit LoopEndpoint(const Geometry& geometry, LoopKind kind = LoopKind::pull)
      : ring_bytes_(geometry.ring_bytes),
        kind_(kind),
        rings_(std::size_t{geometry.lanes} * geometry.ring_bytes),
        lanes_(geometry.lanes) {}

  void finish(const Deadline&) override {}
  LaneCounters counters(std::uint32_t lane) const override {
    const OneLane& one = lanes_[lane];
    return {.arrived = &one.arrived, .released = &one.released, .sent = &one.sent};
  }
  std::byte* outbox(std::uint32_t lane) override { return is_push() ? nullptr : ring(lane); }
  const std::byte* inbox(std::uint32_t lane) const override {
    return rings_.data() + std::size_t{lane} * ring_bytes_;
  }
  Cells cells(std::uint32_t lane) override {
    OneLane& one = lanes_[lane];
    if (kind_ != LoopKind::pull_cells_in && kind_ != LoopKind::pull_cells) return {};
    Cell* const out = kind_ == LoopKind::pull_cells ? one.cells.data() : nullptr;
    return {.out = out, .in = one.cells.data(), .freed = &one.read, .read = &one.read};
  }
  bool put(std::uint32_t lane, const Parcel& parcel) override {
    if (is_push()) copy(parcel, ring(lane) + parcel.offset);
    lanes_[lane].arrived.store(parcel.until, std::memory_order_release);
    if (parcel.freed) release(lane, *parcel.freed);
    if (!keeps_) lanes_[lane].sent.store(parcel.until, std::memory_order_release);
    return true;
  }
  // While it does, nothing that is put has left.
  void keep(bool keeps) {
    keeps_ = keeps;
    for (OneLane& lane : lanes_) {
      if (!keeps) lane.sent.store(lane.arrived.load(std::memory_order_relaxed));
    }
  }
  void release(std::uint32_t lane, std::uint32_t position) override {
    lanes_[lane].released.store(position, std::memory_order_release);
  }
  bool tells_along() const override { return kind_ == LoopKind::push_tells; }
  bool expect(std::uint32_t, std::uint32_t, std::span<std::byte>) override { return false; }
  bool took(std::uint32_t, std::uint32_t) const override { return false; }
  const std::byte* view(const RegionKey&, std::uint64_t, std::uint64_t) override { return nullptr; }
  std::string failure() const override { return {}; }
  bool broken() const override { return false; }

 private:
  struct OneLane {
    std::array<Cell, cell_count> cells{};
    std::atomic<std::uint32_t> arrived{0}, released{0}, sent{0}, read{0};
  };

  bool is_push() const { return kind_ == LoopKind::push || kind_ == LoopKind::push_tells; }
  std::byte* ring(std::uint32_t lane) { return rings_.data() + std::size_t{lane} * ring_bytes_; }
  static void copy(const Parcel& parcel, std::byte* to) {
    std::memcpy(to, &parcel.head, sizeof parcel.head);
    to += payload_offset(parcel.head.bytes);
    for (const auto piece : parcel.pieces) to = std::ranges::copy(piece, to).out;
  }

  const std::uint32_t ring_bytes_;
  const LoopKind kind_;
  bool keeps_ = false;
  std::vector<std::byte> rings_;
  std::vector<OneLane> lanes_;
};

}  // namespace accl
