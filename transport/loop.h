// loop.h - an endpoint that is its own peer: what is put is there at once. For tests and benchmarks
// of what lies above transports, with nothing but memory below it.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "transport/transport.h"

namespace accl {

enum class LoopCells : std::uint8_t { none, only_in, both };

class LoopEndpoint final : public Endpoint {
 public:
  explicit LoopEndpoint(const Geometry& geometry, LoopCells has_cells = LoopCells::none)
      : ring_bytes_(geometry.ring_bytes),
        has_cells_(has_cells),
        rings_(std::size_t{geometry.lanes} * geometry.ring_bytes),
        lanes_(geometry.lanes) {}

  void finish(const Deadline&) override {}
  LaneCounters counters(std::uint32_t lane) const override {
    const OneLane& one = lanes_[lane];
    return {.arrived = &one.arrived, .released = &one.released, .sent = &one.arrived};
  }
  std::byte* outbox(std::uint32_t lane) override {
    return rings_.data() + std::size_t{lane} * ring_bytes_;
  }
  const std::byte* inbox(std::uint32_t lane) const override {
    return rings_.data() + std::size_t{lane} * ring_bytes_;
  }
  Cells cells(std::uint32_t lane) override {
    OneLane& one = lanes_[lane];
    if (has_cells_ == LoopCells::none) return {};
    Cell* const out = has_cells_ == LoopCells::both ? one.cells.data() : nullptr;
    return {.out = out, .in = one.cells.data(), .freed = &one.read, .read = &one.read};
  }
  bool put(std::uint32_t lane, const Parcel& parcel) override {
    lanes_[lane].arrived.store(parcel.until, std::memory_order_release);
    return true;
  }
  void release(std::uint32_t lane, std::uint32_t position) override {
    lanes_[lane].released.store(position, std::memory_order_release);
  }
  bool expect(std::uint32_t, std::uint32_t, std::span<std::byte>) override { return false; }
  bool took(std::uint32_t, std::uint32_t) const override { return false; }
  const std::byte* view(const RegionKey&, std::uint64_t, std::uint64_t) override { return nullptr; }
  std::string failure() const override { return {}; }
  bool broken() const override { return false; }

 private:
  struct OneLane {
    std::array<Cell, cell_count> cells{};
    std::atomic<std::uint32_t> arrived{0}, released{0}, read{0};
  };

  const std::uint32_t ring_bytes_;
  const LoopCells has_cells_;
  std::vector<std::byte> rings_;
  std::vector<OneLane> lanes_;
};

}  // namespace accl
