// gpu_direct.h - a GPU and a port, and which way the device of one reaches the memory of the other:
// the kernel's dma-buf first, nvidia-peermem second, staging last. docs/rdma.md tells users about
// it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "accl/base/cuda.h"
#include "transport/verbs/port.h"

namespace accl::verbs {

// What must happen between the arrival of data in a GPU's memory, written there by a device, and
// the first look of the GPU at it.
enum class Flush : std::uint8_t {
  none,       // It sees such writes in order, or the user forbids it.
  by_driver,  // A call of the CUDA driver.
  by_read,    // The device reads one byte back, which pushes all writes before it.
};

Flush flush_of(const cuda::Api& api, const cuda::Device& gpu, const GpuSettings& settings);

class GpuDirect {
 public:
  // The settings are the port's. Throws Error (invalid_argument) that says why where they force a
  // way that is not possible. The arguments outlive it.
  GpuDirect(const Port& port, const cuda::Api& api, const cuda::Device& gpu);

  // Registers memory of this GPU. Null: it must be staged. Throws Error (system) where a forced way
  // fails. The first call logs, in one line, which way was taken and why no better one; so does a
  // later one if it finds that a way never works.
  Owned<ibv_mr> add(std::span<std::byte> memory);

  // "GPU 0 (0000:17:00.0) and mlx5_0 (0000:18:00.0)".
  const std::string& text() const { return text_; }
  PciDistance distance() const { return distance_; }

 private:
  struct Attempt;
  void choose();
  std::string why_too_far() const;
  Attempt try_dma_buf(std::span<std::byte> memory);
  Attempt try_peermem(std::span<std::byte> memory);
  Attempt refused(int error) const;
  Owned<ibv_mr> settle(Attempt attempt, std::string& why_never, const char* way,
                       std::span<std::byte> memory);
  void announce(const char* way);

  const Port& port_;
  const cuda::Api& api_;
  const cuda::Device& gpu_;
  const GpuSettings& settings_;
  std::string text_;
  PciDistance distance_ = PciDistance::sys;
  // Why not; empty: it is tried.
  std::string no_dma_buf_, no_peermem_;
  bool maps_through_pcie_ = false;
  std::vector<std::string> announced_;  // Few.
};

}  // namespace accl::verbs
