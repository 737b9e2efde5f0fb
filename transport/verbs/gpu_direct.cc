#include "transport/verbs/gpu_direct.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "accl/base/error.h"
#include "accl/base/log.h"
#include "transport/verbs/registering.h"

namespace accl::verbs {
namespace {

constexpr const char* dma_buf_words = "GPUDirect by dma-buf";
constexpr const char* peermem_words = "GPUDirect by nvidia-peermem";
constexpr const char* staging_words = "staging through host memory";

const char* words_of(Flush flush) {
  switch (flush) {
    case Flush::none:
      return "no flush";
    case Flush::by_driver:
      return "flush by the CUDA driver";
    case Flush::by_read:
      return "flush by reading back";
  }
  return "";
}

std::string bus_id_of(const std::string& folder) {
  return folder.empty() ? "not on PCI" : folder.substr(folder.rfind('/') + 1);
}

}  // namespace

Flush flush_of(const cuda::Api& api, const cuda::Device& gpu, const GpuSettings& settings) {
  using cuda::DeviceAttribute;
  if (settings.never_flushes) return Flush::none;
  const int order = gpu.attribute(DeviceAttribute::writes_ordering, cuda::ordering_none);
  if (order >= cuda::ordering_owner && !settings.always_flushes) return Flush::none;
  const int options = gpu.attribute(DeviceAttribute::flush_options, 0);
  const bool has_call = (options & cuda::flush_by_call) != 0 && api.flush_writes != nullptr;
  return has_call ? Flush::by_driver : Flush::by_read;
}

// How one way went for one piece of memory.
struct GpuDirect::Attempt {
  Owned<ibv_mr> region{nullptr, nullptr};
  std::string why{};         // It failed.
  bool is_hopeless = false;  // So it will for all memory.
};

GpuDirect::GpuDirect(const Port& port, const cuda::Api& api, const cuda::Device& gpu)
    : port_(port), api_(api), gpu_(gpu), settings_(port.settings().gpu) {
  const std::string here = pci_folder(settings_.sysfs, "bus/pci/devices/" + gpu.bus_id());
  const std::string there =
      pci_folder(settings_.sysfs, "class/infiniband/" + port.device() + "/device");
  distance_ = pci_distance(here, there);
  text_ = fmt::format("GPU {} ({}) and {} ({})", gpu.ordinal(), gpu.bus_id(), port.device(),
                      bus_id_of(there));
  choose();
}

std::string GpuDirect::why_too_far() const {
  return fmt::format("that is farther than ACCL_NET_GDR_LEVEL={}", to_string(settings_.farthest));
}

// What forbids a way for this pair, whatever the memory. A forced way is taken at any distance.
void GpuDirect::choose() {
  using cuda::DeviceAttribute;
  const bool is_forced = settings_.way.has_value();
  const auto is_out = [&](GpuWay way) { return is_forced && *settings_.way != way; };
  const bool is_too_far = !is_forced && distance_ > settings_.farthest;

  if (is_out(GpuWay::dma_buf)) {
    no_dma_buf_ = "ACCL_GPU_DIRECT asks for another way";
  } else if (is_too_far) {
    no_dma_buf_ = why_too_far();
  } else if (!settings_.uses_dma_buf && !is_forced) {
    no_dma_buf_ = "ACCL_DMABUF_ENABLE is 0";
  } else if (api_.handle_for_range == nullptr) {
    no_dma_buf_ = "the CUDA driver is older than 11.7";
  } else if (gpu_.attribute(DeviceAttribute::dma_buf_supported, 0) == 0) {
    no_dma_buf_ = "the CUDA driver has none for this GPU (its open kernel modules have)";
  } else {
    no_dma_buf_ = why_no_dma_buf(port_);
  }

  if (is_out(GpuWay::peermem)) {
    no_peermem_ = "ACCL_GPU_DIRECT asks for another way";
  } else if (is_too_far) {
    no_peermem_ = why_too_far();
  } else if (gpu_.attribute(DeviceAttribute::gpu_direct_supported, 1) == 0) {
    no_peermem_ = "the CUDA driver has no GPUDirect RDMA for this GPU";
  } else {
    no_peermem_ = why_no_peermem(settings_.sysfs);
  }

  const bool is_impossible = (settings_.way == GpuWay::dma_buf && !no_dma_buf_.empty()) ||
                             (settings_.way == GpuWay::peermem && !no_peermem_.empty());
  if (is_impossible) {
    const bool is_dma_buf = settings_.way == GpuWay::dma_buf;
    fail(ErrorKind::invalid_argument, "ACCL_GPU_DIRECT={}: verbs: {}: {}",
         is_dma_buf ? "dmabuf" : "peermem", text_, is_dma_buf ? no_dma_buf_ : no_peermem_);
  }
  int version = 0;
  const bool is_known = api_.driver_version(&version) == cuda::no_error;
  maps_through_pcie_ = is_known && version >= cuda::driver_with_pcie_mapping;
}

// The descriptor covers whole pages; of those, the device is given the caller's bytes. It is the
// caller's range, whatever the driver calls an allocation: that may be a part of what is mapped
// there.
GpuDirect::Attempt GpuDirect::try_dma_buf(std::span<std::byte> memory) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto at = reinterpret_cast<std::uintptr_t>(memory.data());
  const std::uintptr_t begin = at & ~(page - 1);
  const std::uintptr_t end = (at + memory.size() + page - 1) & ~(page - 1);
  const auto* const pages = reinterpret_cast<const std::byte*>(begin);

  Fd file;  // Needed only until the device knows the memory.
  cuda::Result result = cuda::no_error;
  if (maps_through_pcie_) {
    result = gpu_.dma_buf_of(pages, end - begin, cuda::map_through_pcie, file);
  }
  if (!file) {
    result = gpu_.dma_buf_of(pages, end - begin, 0, file);
    if (file) maps_through_pcie_ = false;
  }
  if (!file) {
    return {.why = "the CUDA driver gives no dma-buf: " + api_.words(result),
            .is_hopeless = result == cuda::not_supported};
  }
  Attempt attempt{.region = register_dma_buf(port_, memory, file.get(), at - begin)};
  return attempt.region ? std::move(attempt) : refused(errno);
}

GpuDirect::Attempt GpuDirect::refused(int error) const {
  const char* const hint =
      error == EFAULT ? " (was nvidia_peermem loaded before the RDMA drivers? is this memory of "
                        "cuMemCreate without gpuDirectRDMACapable? is BAR1 used up?)"
                      : "";
  return {.why = fmt::format("{} refuses it: {}{}", port_.device(),
                             std::generic_category().message(error), hint),
          .is_hopeless = is_hopeless(error)};
}

GpuDirect::Attempt GpuDirect::try_peermem(std::span<std::byte> memory) {
  Attempt attempt{.region = register_by_peermem(port_, memory)};
  return attempt.region ? std::move(attempt) : refused(errno);
}

// Says what went wrong, and forgets a way that never works.
Owned<ibv_mr> GpuDirect::settle(Attempt attempt, std::string& why_never, const char* way,
                                std::span<std::byte> memory) {
  if (attempt.region) {
    announce(way);
    return std::move(attempt.region);
  }
  if (settings_.way) {
    fail(ErrorKind::system, "verbs: {}: no {}, which ACCL_GPU_DIRECT forces: {}", text_, way,
         attempt.why);
  }
  if (attempt.is_hopeless) {
    why_never = attempt.why;
  } else {
    log(LogLevel::info, "verbs: {}: no {} for {} bytes: {}", text_, way, memory.size(),
        attempt.why);
  }
  return {nullptr, nullptr};
}

Owned<ibv_mr> GpuDirect::add(std::span<std::byte> memory) {
  Owned<ibv_mr> region(nullptr, nullptr);
  if (no_dma_buf_.empty()) {
    region = settle(try_dma_buf(memory), no_dma_buf_, dma_buf_words, memory);
  }
  if (!region && no_peermem_.empty()) {
    region = settle(try_peermem(memory), no_peermem_, peermem_words, memory);
  }
  if (!region) announce(staging_words);
  return region;
}

// Once for all memory that goes the same way for the same reasons.
void GpuDirect::announce(const char* way) {
  std::string line = fmt::format("{}, {} apart", way, to_string(distance_));
  if (way != staging_words) line += fmt::format(", {}", words_of(flush_of(api_, gpu_, settings_)));
  const bool is_one_reason = no_dma_buf_ == no_peermem_;
  if (!no_dma_buf_.empty()) line += (is_one_reason ? "; " : "; dma-buf: ") + no_dma_buf_;
  const bool is_second = way != dma_buf_words && !is_one_reason;
  if (is_second && !no_peermem_.empty()) line += "; nvidia-peermem: " + no_peermem_;
  if (std::ranges::find(announced_, line) != announced_.end()) return;
  log(LogLevel::info, "verbs: {}: {}", text_, line);
  announced_.push_back(std::move(line));
}

}  // namespace accl::verbs
