// cuda.h - the functions of the CUDA driver that we use, found when a program first asks for them,
// so that the library loads where there is no GPU. The few types they take are declared here, by
// the public documentation of the driver API: no header of CUDA is needed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "accl/base/fd.h"

namespace accl::cuda {

using Result = int;  // A CUresult; 0 is success.
using Address = unsigned long long;
struct OpaqueContext;
using Context = OpaqueContext*;

constexpr Result no_error = 0;
constexpr Result not_found = 500;  // What we say of a function that this driver lacks.
constexpr Result not_supported = 801;

// Of a device: numbers of CUdevice_attribute.
enum class DeviceAttribute : int {
  gpu_direct_supported = 116,  // nvidia-peermem may pin its memory.
  flush_options = 117,         // Bits: flush_by_call, and one for streams.
  writes_ordering = 118,       // Whom the writes of NICs reach without a flush: ordering_*.
  dma_buf_supported = 124,
};
constexpr int flush_by_call = 1;
constexpr int ordering_none = 0;
constexpr int ordering_owner = 100;  // The GPU that owns the memory sees them in order.
constexpr int ordering_all = 200;

// Of an address: numbers of CUpointer_attribute.
enum class PointerAttribute : int {
  memory_type = 2,  // memory_on_*
  buffer_id = 7,    // Of the allocation: never used again in this process.
  is_managed = 8,
  device = 9,
  range_start = 11,  // Of the allocation, or of one segment of it.
  range_bytes = 12,
};
constexpr unsigned memory_on_device = 2;

constexpr int dma_buf_handle = 1;                   // CUmemRangeHandleType
constexpr unsigned long long map_through_pcie = 1;  // Flag of that, from driver 12.8 on.
constexpr int driver_with_pcie_mapping = 12080;     // As cuDriverGetVersion has it.
constexpr int flush_current_context = 0, flush_to_owner = 100;

// Pointers that stay good for the life of the process: the driver is never unloaded. Those marked
// `optional` are null where the driver is older than they are.
struct Api {
  // Loads and initialises the driver. Throws Error (system) that names `library` and the driver's
  // reason.
  static Api load(const std::string& library = library_name());
  // ACCL_CUDA_LIBRARY, else libcuda.so.1.
  static std::string library_name();

  Result (*init)(unsigned flags) = nullptr;
  Result (*driver_version)(int*) = nullptr;
  Result (*get_error_string)(Result, const char**) = nullptr;
  Result (*device_get)(int* device, int ordinal) = nullptr;
  Result (*device_attribute)(int*, DeviceAttribute, int device) = nullptr;
  Result (*device_bus_id)(char*, int bytes, int device) = nullptr;
  Result (*retain_primary_context)(Context*, int device) = nullptr;
  Result (*release_primary_context)(int device) = nullptr;
  Result (*push_context)(Context) = nullptr;
  Result (*pop_context)(Context*) = nullptr;
  Result (*pointer_attributes)(unsigned, PointerAttribute*, void**, Address) = nullptr;
  Result (*copy_to_host)(void*, Address, std::size_t) = nullptr;
  Result (*copy_from_host)(Address, const void*, std::size_t) = nullptr;
  Result (*handle_for_range)(void*, Address, std::size_t, int type,
                             unsigned long long flags) = nullptr;  // optional, 11.7
  Result (*flush_writes)(int target, int scope) = nullptr;         // optional, 11.3

  // "an illegal address was accessed (CUDA error 700)".
  std::string words(Result result) const;
};

// Whose memory an address is.
struct Pointer {
  bool is_on_device = false;  // Memory of a GPU; neither the host's nor managed.
  bool is_managed = false;    // Moves between host and GPU.
  int device = -1;
  std::uint64_t buffer = 0;     // buffer_id
  Address range_start = 0;      // What the driver calls its allocation: it may be only a part of a
  std::size_t range_bytes = 0;  // longer range that is mapped piece by piece.
};

// Of an address the driver does not know, nothing is set.
Result look_up(const Api& api, const void* address, Pointer& pointer);

// A GPU whose primary context is held, which is the one the CUDA runtime uses.
class Device {
 public:
  // Throws Error (invalid_argument) where there is no such GPU, (system) for other reasons.
  Device(const Api& api, int ordinal);
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  ~Device();

  int ordinal() const { return ordinal_; }
  // As sysfs writes it: "0000:c1:00.0".
  const std::string& bus_id() const { return bus_id_; }
  // `otherwise` where the driver does not know the attribute.
  int attribute(DeviceAttribute attribute, int otherwise) const;

  // Each of these makes the context current for as long as it takes.
  Result copy_to_host(void* to, const void* from, std::size_t bytes) const;
  Result copy_from_host(void* to, const void* from, std::size_t bytes) const;
  Result flush_writes() const;  // Of NICs, to this GPU. not_found where the driver cannot.
  // For whole pages of this GPU's memory.
  Result dma_buf_of(const void* begin, std::size_t bytes, unsigned long long flags, Fd& file) const;

 private:
  template <class Action>
  Result within(const Action& action) const;

  const Api& api_;
  const int ordinal_;
  int device_ = 0;
  Context context_ = nullptr;
  std::string bus_id_;
};

}  // namespace accl::cuda
