// gpu_rig.h - one RDMA device and two GPUs of a machine that is not there, and what their libraries
// were asked.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/verbs/rig.h"

namespace accl::test {

using Environment = std::map<std::string, std::string>;

inline std::vector<std::string> calls;  // Of both fakes, in their order.

inline void record(const char* call) { calls.emplace_back(call); }

inline std::uint32_t count_of(const std::string& call) {
  return static_cast<std::uint32_t>(std::ranges::count(calls, call));
}

inline const FakeCuda* the_cuda = nullptr;
inline std::byte* by_peermem(const void* address, std::size_t bytes) {
  return the_cuda->bytes(address, bytes);
}

// GPU 0 and device fake0 below one switch, where nothing is missing but nvidia-peermem.
class VerbsGpu : public testing::Test {
 protected:
  void SetUp() override {
    the_cuda = &cuda_;
    place_nic(switch_ + "0000:18:01.0/0000:1c:00.0", 0);
    sysfs_.place(switch_ + "0000:18:00.0/0000:1a:00.0", 0);
    sysfs_.place(switch_ + "0000:18:02.0/0000:1b:00.0", 0);
    listen();
  }
  void TearDown() override {
    EXPECT_STREQ(verbs_.violation(), "");
    EXPECT_STREQ(cuda_.violation(), "");
    EXPECT_EQ(verbs_.living(), 0U) << "objects of libibverbs that nobody ended";
  }

  void listen() {
    calls.clear();
    verbs_.set_recorder(record);
    cuda_.set_recorder(record);
  }
  void place_nic(const std::string& at, int numa_node) { sysfs_.place_nic("fake0", at, numa_node); }
  void load_peermem() {
    sysfs_.write("module/nvidia_peermem/version", "550.54\n");
    verbs_.set_peer_memory(by_peermem);
  }

  verbs::Settings settings(const Environment& environment = {}) const {
    verbs::Settings settings = verbs::read_settings([&](const char* name) {
      const auto found = environment.find(name);
      return found == environment.end() ? nullptr : found->second.c_str();
    });
    settings.gpu.sysfs = sysfs_.root();
    return settings;
  }

  // Adds memory of GPU 0 and looks at the device's side of it; gives what was logged.
  struct Seen {
    std::string log;
    bool is_known = false;    // To the device.
    bool is_dma_buf = false;  // By a descriptor.
  };
  Seen add(const verbs::Settings& settings, bool is_managed = false) {
    const GpuMemory memory(cuda_, 3 << 20, 0, is_managed);
    Rails rails(settings);
    rails.add_rails(1);
    const std::span<std::byte> range = memory.span().subspan(5000, 1'000'000);
    const std::size_t files = open_files();
    testing::internal::CaptureStderr();
    std::optional<verbs::Registry::Claim> claim;
    const std::string words = words_of([&] {
      claim.emplace(rails.registry().add({.bytes = range, .kind = MemoryKind::cuda, .device = 0}));
    });
    Seen seen{.log = testing::internal::GetCapturedStderr() + words};
    EXPECT_EQ(open_files(), files) << "a dma-buf was left open";
    if (!claim) return seen;
    const ibv_mr* const region = claim->registration().on(0);
    seen.is_known = region != nullptr;
    if (seen.is_known) seen.is_dma_buf = verbs_.regions().front().is_dma_buf;
    if (seen.is_known) check_bytes(*region, range, memory);
    EXPECT_EQ(rails.registry().find(range), &claim->registration());
    std::array<std::byte, 3> there{};
    memory.real()[5000] = std::byte{7};
    EXPECT_EQ(rails.registry().copy_to_host(there.data(), range.first(3)), 0);
    EXPECT_EQ(there[0], std::byte{7});
    return seen;
  }

  static std::string words_of(const std::function<void()>& action) {
    try {
      action();
      return {};
    } catch (const Error& error) {
      return error.what();
    }
  }

  // The device has the caller's bytes under their addresses, and no others.
  void check_bytes(const ibv_mr& region, std::span<std::byte> range, const GpuMemory& memory) {
    const auto at = reinterpret_cast<std::uint64_t>(range.data());
    memory.real()[5000] = std::byte{41};
    memory.real()[5000 + range.size() - 1] = std::byte{42};
    std::byte first{}, last{};
    EXPECT_TRUE(verbs_.read(region.rkey, at, &first, 1));
    EXPECT_TRUE(verbs_.read(region.rkey, at + range.size() - 1, &last, 1));
    EXPECT_EQ(first, std::byte{41});
    EXPECT_EQ(last, std::byte{42});
    EXPECT_FALSE(verbs_.read(region.rkey, at - 1, &first, 1));
    EXPECT_FALSE(verbs_.read(region.rkey, at + range.size(), &last, 1));
  }

  const std::string switch_ = "pci0000:16/0000:16:02.0/0000:17:00.0/";
  FakeVerbs verbs_;
  FakeCuda cuda_;
  Sysfs sysfs_;
};

}  // namespace accl::test
