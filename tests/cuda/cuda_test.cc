// cuda_test.cc - the driver of CUDA as it is found at run time, over a fake one.
#include "accl/base/cuda.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "accl/base/error.h"
#include "tests/cuda/controls.h"

namespace accl::test {
namespace {

class Cuda : public testing::Test {
 protected:
  void TearDown() override {
    EXPECT_STREQ(fake_.violation(), "");
    EXPECT_EQ(fake_.living(), 0U);
  }

  FakeCuda fake_;
};

TEST(CudaMissing, OneSentenceSaysSo) {
  try {
    static_cast<void>(cuda::Api::load("libno-such-cuda.so.1"));
    FAIL() << "loaded nothing";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::system);
    EXPECT_NE(std::strstr(error.what(), "libno-such-cuda.so.1"), nullptr) << error.what();
  }
}

TEST_F(Cuda, ADriverThatDoesNotStartSaysWhy) {
  fake_.fail_call(1, 100);
  try {
    static_cast<void>(cuda::Api::load());
    FAIL() << "started";
  } catch (const Error& error) {
    EXPECT_NE(std::strstr(error.what(), "no CUDA-capable device is detected (CUDA error 100)"),
              nullptr)
        << error.what();
  }
}

TEST_F(Cuda, BytesComeAndGoThoughNoHostAddressHasThem) {
  const cuda::Api api = cuda::Api::load();
  const GpuMemory memory(fake_, 10000, 1);
  const cuda::Device gpu(api, 1);
  EXPECT_EQ(gpu.bus_id(), "0000:1b:00.0");
  std::array<char, 8> there{"hello"}, back{};
  ASSERT_EQ(gpu.copy_from_host(memory.data() + 100, there.data(), there.size()), 0);
  ASSERT_EQ(gpu.copy_to_host(back.data(), memory.data() + 100, back.size()), 0);
  EXPECT_EQ(back, there);
  EXPECT_EQ(std::memcmp(memory.real() + 100, "hello", 6), 0);
  EXPECT_EQ(gpu.copy_to_host(back.data(), back.data(), back.size()), 1) << "no memory of a GPU";
}

TEST_F(Cuda, WhoseMemoryAnAddressIs) {
  const cuda::Api api = cuda::Api::load();
  const GpuMemory plain(fake_, 10000, 1), managed(fake_, 10000, 0, true);
  cuda::Pointer pointer;
  ASSERT_EQ(look_up(api, plain.data() + 5000, pointer), 0);
  EXPECT_TRUE(pointer.is_on_device && !pointer.is_managed);
  EXPECT_EQ(pointer.device, 1);
  EXPECT_EQ(pointer.range_start, reinterpret_cast<cuda::Address>(plain.data()));
  EXPECT_GE(pointer.range_bytes, 10000U);
  const std::uint64_t buffer = pointer.buffer;
  ASSERT_EQ(look_up(api, managed.data(), pointer), 0);
  EXPECT_TRUE(pointer.is_managed && !pointer.is_on_device);
  EXPECT_NE(pointer.buffer, buffer);
  ASSERT_EQ(look_up(api, &pointer, pointer), 0);
  EXPECT_FALSE(pointer.is_managed || pointer.is_on_device);
}

TEST_F(Cuda, AGpuThatIsNotThereIsNamed) {
  const cuda::Api api = cuda::Api::load();
  try {
    const cuda::Device gpu(api, 7);
    FAIL() << "found one";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
    EXPECT_NE(std::strstr(error.what(), "no GPU 7"), nullptr) << error.what();
  }
}

TEST_F(Cuda, AnOlderDriverLacksWhatIsOptional) {
  cuda::Api api = cuda::Api::load();
  const cuda::Device gpu(api, 0);
  EXPECT_EQ(gpu.flush_writes(), 0);
  api.flush_writes = nullptr;
  api.handle_for_range = nullptr;
  Fd file;
  EXPECT_EQ(gpu.flush_writes(), cuda::not_found);
  EXPECT_EQ(gpu.dma_buf_of(&gpu, 4096, 0, file), cuda::not_found);
  fake_.forget_attribute(124);
  EXPECT_EQ(gpu.attribute(cuda::DeviceAttribute::dma_buf_supported, -5), -5);
}

}  // namespace
}  // namespace accl::test
