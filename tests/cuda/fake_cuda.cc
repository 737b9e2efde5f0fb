#include "tests/cuda/fake_cuda.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace {

using Address = unsigned long long;

constexpr int ok = 0, invalid_value = 1, not_initialized = 3, invalid_device = 101;
constexpr int invalid_context = 201;
constexpr int device_count = 2;
constexpr std::size_t page = 4096;
constexpr std::uint64_t granule = 2 << 20;  // Of an allocation, as real drivers have it.

struct Allocation {
  std::size_t bytes = 0;
  int device = 0;
  bool is_managed = false;
  std::uint64_t number = 0;
  int file = -1;
  std::byte* real = nullptr;
};

struct State {
  std::mutex mutex;
  std::map<Address, Allocation> allocations;
  std::map<int, int> attributes;
  std::array<std::uint32_t, device_count> held{};  // Primary contexts.
  std::uint64_t next_number = 1;
  bool is_initialized = false;
  int version = 0;
  int handle_result = ok;
  bool refuses_pcie = false;
  std::uint32_t calls = 0, failing_call = 0;
  int failing_result = ok;
  std::string violation;
  void (*recorder)(const char*) = nullptr;
};

State& state() {
  static State one;
  return one;
}

thread_local std::vector<int> contexts;  // Devices; the last one's is current.

void violate(const char* what) {
  if (state().violation.empty()) state().violation = what;
}

// Begins every call that can fail: gives what it fails with.
int enter(const char* call) {
  State& all = state();
  if (all.recorder != nullptr) all.recorder(call);
  if (++all.calls == all.failing_call) return all.failing_result;
  return all.is_initialized ? ok : not_initialized;
}

const std::pair<const Address, Allocation>* holder(Address address, std::size_t bytes) {
  auto found = state().allocations.upper_bound(address);
  if (found == state().allocations.begin()) return nullptr;
  --found;
  const bool is_inside = address + bytes <= found->first + found->second.bytes;
  return is_inside ? &*found : nullptr;
}

std::byte* bytes_at(Address address, std::size_t bytes) {
  const auto* const found = holder(address, bytes);
  return found != nullptr ? found->second.real + (address - found->first) : nullptr;
}

int copy(const char* call, Address address, std::size_t bytes, void* to, const void* from) {
  if (const int result = enter(call); result != ok) return result;
  if (contexts.empty()) return invalid_context;
  std::byte* const real = bytes_at(address, bytes);
  if (real == nullptr) return invalid_value;
  std::memcpy(to != nullptr ? to : real, from != nullptr ? from : real, bytes);
  return ok;
}

// What an attribute of a pointer is; of unknown addresses, nothing.
void tell(int attribute, void* value, const std::pair<const Address, Allocation>* found) {
  const auto put = [&](auto number) { std::memcpy(value, &number, sizeof number); };
  const bool is_known = found != nullptr;
  switch (attribute) {
    case 2:
      return put(is_known ? 2U : 0U);
    case 7:
      return put(is_known ? found->second.number : std::uint64_t{0});
    case 8:
      return put(is_known && found->second.is_managed ? 1U : 0U);
    case 9:
      return put(is_known ? found->second.device : -2);
    case 11:
      return put(is_known ? found->first : Address{0});
    case 12:
      return put(is_known ? found->second.bytes : std::size_t{0});
    default:
      return violate("asked for an attribute of a pointer that this fake does not know");
  }
}

}  // namespace

extern "C" {

void fake_cuda_reset() {
  State& all = state();
  const std::lock_guard lock(all.mutex);
  all.attributes = {{116, 1}, {117, 1}, {118, 100}, {124, 1}};
  all.version = 12080;
  all.handle_result = ok;
  all.refuses_pcie = false;
  all.calls = all.failing_call = 0;
  all.violation.clear();
  all.recorder = nullptr;
}

std::uint32_t fake_cuda_living() {
  const std::lock_guard lock(state().mutex);
  auto living = static_cast<std::uint32_t>(state().allocations.size());
  for (const std::uint32_t held : state().held) living += held;
  return living;
}

const char* fake_cuda_violation() { return state().violation.c_str(); }

void* fake_cuda_allocate(int device, std::size_t bytes, bool is_managed, void* where) {
  const std::lock_guard lock(state().mutex);
  bytes = (bytes + granule - 1) / granule * granule;
  Allocation made{.bytes = bytes, .device = device, .is_managed = is_managed};
  const int fixed = where != nullptr ? MAP_FIXED_NOREPLACE : 0;
  void* const memory = ::mmap(where, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | fixed, -1, 0);
  made.file = ::memfd_create("fake GPU memory", MFD_CLOEXEC);
  if (memory == MAP_FAILED || made.file < 0) return nullptr;
  if (::ftruncate(made.file, static_cast<off_t>(bytes)) != 0) return nullptr;
  made.real = static_cast<std::byte*>(
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, made.file, 0));
  made.number = state().next_number++;
  state().allocations[reinterpret_cast<Address>(memory)] = made;
  return memory;
}

void fake_cuda_free(void* memory) {
  const std::lock_guard lock(state().mutex);
  const auto found = state().allocations.find(reinterpret_cast<Address>(memory));
  if (found == state().allocations.end()) return violate("freed what was not allocated");
  ::munmap(memory, found->second.bytes);
  ::munmap(found->second.real, found->second.bytes);
  ::close(found->second.file);
  state().allocations.erase(found);
}

std::byte* fake_cuda_bytes(const void* address, std::size_t bytes) {
  const std::lock_guard lock(state().mutex);
  return bytes_at(reinterpret_cast<Address>(address), bytes);
}

void fake_cuda_set_attribute(int attribute, int value) { state().attributes[attribute] = value; }
void fake_cuda_forget_attribute(int attribute) { state().attributes.erase(attribute); }
void fake_cuda_set_version(int version) { state().version = version; }
void fake_cuda_refuse_handles(int result) { state().handle_result = result; }
void fake_cuda_refuse_pcie_mapping() { state().refuses_pcie = true; }
void fake_cuda_fail_call(std::uint32_t k, int result) {
  state().calls = 0;
  state().failing_call = k;
  state().failing_result = result;
}
std::uint32_t fake_cuda_calls() { return state().calls; }
void fake_cuda_set_recorder(void (*recorder)(const char* call)) { state().recorder = recorder; }

// --- The driver ----------------------------------------------------------------------------------

int cuInit(unsigned) {
  const std::lock_guard lock(state().mutex);
  const int result = enter("cuInit");
  if (result != ok && result != not_initialized) return result;
  state().is_initialized = true;
  return ok;
}

int cuDriverGetVersion(int* version) {
  const std::lock_guard lock(state().mutex);
  *version = state().version;
  return enter("cuDriverGetVersion");
}

int cuGetErrorString(int result, const char** text) {
  static const std::map<int, const char*> words{{ok, "no error"},
                                                {invalid_value, "invalid argument"},
                                                {2, "out of memory"},
                                                {100, "no CUDA-capable device is detected"},
                                                {invalid_device, "invalid device ordinal"},
                                                {invalid_context, "invalid device context"},
                                                {801, "operation not supported"}};
  const auto found = words.find(result);
  *text = found != words.end() ? found->second : nullptr;
  return found != words.end() ? ok : invalid_value;
}

int cuDeviceGet(int* device, int ordinal) {
  const std::lock_guard lock(state().mutex);
  *device = ordinal;
  const int result = enter("cuDeviceGet");
  return result == ok && (ordinal < 0 || ordinal >= device_count) ? invalid_device : result;
}

int cuDeviceGetAttribute(int* value, int attribute, int) {
  const std::lock_guard lock(state().mutex);
  if (const int result = enter("cuDeviceGetAttribute"); result != ok) return result;
  const auto found = state().attributes.find(attribute);
  if (found == state().attributes.end()) return invalid_value;
  *value = found->second;
  return ok;
}

int cuDeviceGetPCIBusId(char* text, int bytes, int device) {
  const std::lock_guard lock(state().mutex);
  std::snprintf(text, static_cast<std::size_t>(bytes), "0000:%02X:00.0",
                static_cast<unsigned>(0x1A + device));
  return enter("cuDeviceGetPCIBusId");
}

int cuDevicePrimaryCtxRetain(void** context, int device) {
  const std::lock_guard lock(state().mutex);
  if (const int result = enter("cuDevicePrimaryCtxRetain"); result != ok) return result;
  *context = &state().held[static_cast<std::size_t>(device)];
  ++state().held[static_cast<std::size_t>(device)];
  return ok;
}

int cuDevicePrimaryCtxRelease_v2(int device) {
  const std::lock_guard lock(state().mutex);
  if (state().held[static_cast<std::size_t>(device)]-- == 0) violate("released a context twice");
  return ok;
}

int cuCtxPushCurrent_v2(void* context) {
  const std::lock_guard lock(state().mutex);
  if (const int result = enter("cuCtxPushCurrent"); result != ok) return result;
  contexts.push_back(static_cast<int>(static_cast<std::uint32_t*>(context) - &state().held[0]));
  return ok;
}

int cuCtxPopCurrent_v2(void** context) {
  const std::lock_guard lock(state().mutex);
  if (contexts.empty()) return invalid_context;
  *context = &state().held[static_cast<std::size_t>(contexts.back())];
  contexts.pop_back();
  return ok;
}

int cuPointerGetAttributes(unsigned count, const int* attributes, void** values, Address address) {
  const std::lock_guard lock(state().mutex);
  if (const int result = enter("cuPointerGetAttributes"); result != ok) return result;
  for (unsigned i = 0; i < count; ++i) tell(attributes[i], values[i], holder(address, 1));
  return ok;
}

// The descriptor's position is where the range begins in the file: a real dma-buf is the range.
int cuMemGetHandleForAddressRange(void* handle, Address address, std::size_t bytes, int type,
                                  unsigned long long flags) {
  const std::lock_guard lock(state().mutex);
  const char* const call =
      flags != 0 ? "cuMemGetHandleForAddressRange for PCIe" : "cuMemGetHandleForAddressRange";
  if (const int result = enter(call); result != ok) return result;
  if (state().handle_result != ok) return state().handle_result;
  if (flags != 0 && (state().refuses_pcie || state().version < 12080)) return invalid_value;
  if (address % page != 0 || bytes % page != 0 || type != 1) {
    violate("a dma-buf of parts of pages");
    return invalid_value;
  }
  if (contexts.empty()) return invalid_context;
  const auto* const found = holder(address, bytes);
  if (found == nullptr || found->second.is_managed) return invalid_value;
  char path[64];
  std::snprintf(path, sizeof path, "/proc/self/fd/%d", found->second.file);
  const int file = ::open(path, O_RDWR | O_CLOEXEC);
  ::lseek(file, static_cast<off_t>(address - found->first), SEEK_SET);
  std::memcpy(handle, &file, sizeof file);
  return ok;
}

int cuMemcpyDtoH_v2(void* to, Address from, std::size_t bytes) {
  const std::lock_guard lock(state().mutex);
  return copy("cuMemcpyDtoH", from, bytes, to, nullptr);
}

int cuMemcpyHtoD_v2(Address to, const void* from, std::size_t bytes) {
  const std::lock_guard lock(state().mutex);
  return copy("cuMemcpyHtoD", to, bytes, nullptr, from);
}

int cuFlushGPUDirectRDMAWrites(int target, int scope) {
  const std::lock_guard lock(state().mutex);
  if (const int result = enter("cuFlushGPUDirectRDMAWrites"); result != ok) return result;
  if (target != 0 || (scope != 100 && scope != 200)) return invalid_value;
  return contexts.empty() ? invalid_context : ok;
}
}
