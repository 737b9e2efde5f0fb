// controls.h - the controls of the fake CUDA driver, looked up in the loaded library.
#pragma once

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <span>

#include "tests/cuda/fake_cuda.h"

namespace accl::test {

// Finds functions in a library that a variable of the environment names.
class Controls {
 public:
  explicit Controls(const char* variable) {
    const char* const path = std::getenv(variable);
    handle_ = path != nullptr ? ::dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
    EXPECT_NE(handle_, nullptr) << "set " << variable << " to the built fake";
  }
  template <class Function>
  void find(Function& function, const char* name) const {
    function = handle_ != nullptr ? reinterpret_cast<Function>(::dlsym(handle_, name)) : nullptr;
    EXPECT_NE(function, nullptr) << name;
  }

 private:
  void* handle_ = nullptr;
};

struct FakeCuda {
  FakeCuda() {
    const Controls controls("ACCL_CUDA_LIBRARY");
    controls.find(reset, "fake_cuda_reset");
    controls.find(living, "fake_cuda_living");
    controls.find(violation, "fake_cuda_violation");
    controls.find(allocate, "fake_cuda_allocate");
    controls.find(free, "fake_cuda_free");
    controls.find(bytes, "fake_cuda_bytes");
    controls.find(set_attribute, "fake_cuda_set_attribute");
    controls.find(forget_attribute, "fake_cuda_forget_attribute");
    controls.find(set_version, "fake_cuda_set_version");
    controls.find(refuse_handles, "fake_cuda_refuse_handles");
    controls.find(refuse_pcie_mapping, "fake_cuda_refuse_pcie_mapping");
    controls.find(fail_call, "fake_cuda_fail_call");
    controls.find(calls, "fake_cuda_calls");
    controls.find(set_recorder, "fake_cuda_set_recorder");
    reset();
  }

  decltype(&fake_cuda_reset) reset;
  decltype(&fake_cuda_living) living;
  decltype(&fake_cuda_violation) violation;
  decltype(&fake_cuda_allocate) allocate;
  decltype(&fake_cuda_free) free;
  decltype(&fake_cuda_bytes) bytes;
  decltype(&fake_cuda_set_attribute) set_attribute;
  decltype(&fake_cuda_forget_attribute) forget_attribute;
  decltype(&fake_cuda_set_version) set_version;
  decltype(&fake_cuda_refuse_handles) refuse_handles;
  decltype(&fake_cuda_refuse_pcie_mapping) refuse_pcie_mapping;
  decltype(&fake_cuda_fail_call) fail_call;
  decltype(&fake_cuda_calls) calls;
  decltype(&fake_cuda_set_recorder) set_recorder;
};

// Memory of a fake GPU.
class GpuMemory {
 public:
  GpuMemory(const FakeCuda& cuda, std::size_t bytes, int device = 0, bool is_managed = false,
            void* where = nullptr)
      : cuda_(cuda),
        data_(static_cast<std::byte*>(cuda.allocate(device, bytes, is_managed, where))),
        bytes_(bytes) {
    EXPECT_NE(data_, nullptr);
  }
  GpuMemory(const GpuMemory&) = delete;
  GpuMemory& operator=(const GpuMemory&) = delete;
  ~GpuMemory() { cuda_.free(data_); }

  std::byte* data() const { return data_; }  // As the GPU knows it.
  std::span<std::byte> span() const { return {data_, bytes_}; }
  std::byte* real() const { return cuda_.bytes(data_, bytes_); }

 private:
  const FakeCuda& cuda_;
  std::byte* const data_;
  const std::size_t bytes_;
};

}  // namespace accl::test
