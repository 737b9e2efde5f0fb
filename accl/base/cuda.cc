#include "accl/base/cuda.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>

#include "accl/base/error.h"

namespace accl::cuda {
namespace {

// Where a function has changed, the older form keeps the plain name: we want what headers since
// CUDA 4 call.
struct Name {
  const char* name;
  bool is_optional = false;
};

template <class Function>
void find(void* library, Function& function, Name wanted, const std::string& file) {
  function = reinterpret_cast<Function>(::dlsym(library, wanted.name));
  if (function != nullptr || wanted.is_optional) return;
  fail(ErrorKind::system, "CUDA: {} has no {}: the driver is too old", file, wanted.name);
}

// "0000:C1:00.0" and, from some tools, "00000000:C1:00.0" to how sysfs names folders.
std::string as_in_sysfs(std::string bus_id) {
  std::ranges::transform(bus_id, bus_id.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  constexpr std::size_t domain_digits = 4;
  const std::size_t colon = bus_id.find(':');
  if (colon == std::string::npos || colon <= domain_digits) return bus_id;
  const std::size_t extra = colon - domain_digits;
  return bus_id.find_first_not_of('0') >= extra ? bus_id.substr(extra) : bus_id;
}

}  // namespace

std::string Api::library_name() {
  const char* const name = std::getenv("ACCL_CUDA_LIBRARY");
  return name != nullptr && *name != '\0' ? name : "libcuda.so.1";
}

Api Api::load(const std::string& library) {
  void* const handle = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* const why = ::dlerror();
    fail(ErrorKind::system, "CUDA: cannot load the driver ({}); is it installed on this machine?",
         why != nullptr ? why : library);
  }
  Api api;
  const auto get = [&](auto& function, Name name) { find(handle, function, name, library); };
  get(api.init, {"cuInit"});
  get(api.driver_version, {"cuDriverGetVersion"});
  get(api.get_error_string, {"cuGetErrorString"});
  get(api.device_get, {"cuDeviceGet"});
  get(api.device_attribute, {"cuDeviceGetAttribute"});
  get(api.device_bus_id, {"cuDeviceGetPCIBusId"});
  get(api.retain_primary_context, {"cuDevicePrimaryCtxRetain"});
  get(api.release_primary_context, {"cuDevicePrimaryCtxRelease_v2"});
  get(api.push_context, {"cuCtxPushCurrent_v2"});
  get(api.pop_context, {"cuCtxPopCurrent_v2"});
  get(api.pointer_attributes, {"cuPointerGetAttributes"});
  get(api.copy_to_host, {"cuMemcpyDtoH_v2"});
  get(api.copy_from_host, {"cuMemcpyHtoD_v2"});
  get(api.handle_for_range, {"cuMemGetHandleForAddressRange", true});
  get(api.flush_writes, {"cuFlushGPUDirectRDMAWrites", true});
  const Result result = api.init(0);
  if (result == no_error) return api;
  fail(ErrorKind::system, "CUDA: the driver ({}) does not start: {}", library, api.words(result));
}

std::string Api::words(Result result) const {
  const char* text = nullptr;
  if (get_error_string(result, &text) != no_error || text == nullptr)
    text = "unknown to the driver";
  return fmt::format("{} (CUDA error {})", text, result);
}

Result look_up(const Api& api, const void* address, Pointer& pointer) {
  unsigned type = 0, is_managed = 0;
  pointer = {};
  std::array attributes{PointerAttribute::memory_type, PointerAttribute::is_managed,
                        PointerAttribute::device,      PointerAttribute::buffer_id,
                        PointerAttribute::range_start, PointerAttribute::range_bytes};
  std::array<void*, attributes.size()> values{
      &type,           &is_managed,          &pointer.device,
      &pointer.buffer, &pointer.range_start, &pointer.range_bytes};
  const Result result = api.pointer_attributes(attributes.size(), attributes.data(), values.data(),
                                               reinterpret_cast<Address>(address));
  pointer.is_managed = is_managed != 0;
  pointer.is_on_device = type == memory_on_device && !pointer.is_managed;
  return result;
}

Device::Device(const Api& api, int ordinal) : api_(api), ordinal_(ordinal) {
  Result result = api_.device_get(&device_, ordinal_);
  if (result != no_error) {
    fail(ErrorKind::invalid_argument, "CUDA: there is no GPU {}: {}", ordinal_, api_.words(result));
  }
  std::array<char, 32> text{};
  result = api_.device_bus_id(text.data(), static_cast<int>(text.size()), device_);
  if (result == no_error) result = api_.retain_primary_context(&context_, device_);
  if (result != no_error) {
    fail(ErrorKind::system, "CUDA: GPU {} cannot be used: {}", ordinal_, api_.words(result));
  }
  bus_id_ = as_in_sysfs(text.data());
}

Device::~Device() { api_.release_primary_context(device_); }

int Device::attribute(DeviceAttribute attribute, int otherwise) const {
  int value = 0;
  return api_.device_attribute(&value, attribute, device_) == no_error ? value : otherwise;
}

template <class Action>
Result Device::within(const Action& action) const {
  Result result = api_.push_context(context_);
  if (result != no_error) return result;
  result = action();
  Context ours = nullptr;
  const Result popped = api_.pop_context(&ours);
  return result != no_error ? result : popped;
}

Result Device::copy_to_host(void* to, const void* from, std::size_t bytes) const {
  return within([&] { return api_.copy_to_host(to, reinterpret_cast<Address>(from), bytes); });
}

Result Device::copy_from_host(void* to, const void* from, std::size_t bytes) const {
  return within([&] { return api_.copy_from_host(reinterpret_cast<Address>(to), from, bytes); });
}

Result Device::flush_writes() const {
  if (api_.flush_writes == nullptr) return not_found;
  return within([&] { return api_.flush_writes(flush_current_context, flush_to_owner); });
}

Result Device::dma_buf_of(const void* begin, std::size_t bytes, unsigned long long flags,
                          Fd& file) const {
  if (api_.handle_for_range == nullptr) return not_found;
  return within([&] {
    int handle = -1;
    const Result result = api_.handle_for_range(&handle, reinterpret_cast<Address>(begin), bytes,
                                                dma_buf_handle, flags);
    if (result == no_error) file.reset(handle);
    return result;
  });
}

}  // namespace accl::cuda
