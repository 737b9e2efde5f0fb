// gpu_direct_test.cc - which way a device reaches the memory of a GPU, over a fake CUDA driver and
// a fake libibverbs: every way, and every reason against it.
#include "transport/verbs/gpu_direct.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <functional>

#include "tests/verbs/gpu_rig.h"
#include "transport/verbs/registering.h"

namespace accl::test {
namespace {

using verbs::Flush;
using verbs::Settings;
using Claim = verbs::Registry::Claim;

TEST_F(VerbsGpu, DmaBufIsTakenWhereAllIsThere) {
  const Seen seen = add(settings());
  EXPECT_TRUE(seen.is_dma_buf);
  EXPECT_TRUE(holds(seen.log,
                    "GPU 0 (0000:1a:00.0) and fake0 (0000:1c:00.0): GPUDirect by "
                    "dma-buf, PIX apart, no flush\n"))
      << seen.log;
  const std::vector<std::string> wanted{"ibv_reg_dmabuf_mr of no file",
                                        "cuMemGetHandleForAddressRange for PCIe",
                                        "ibv_reg_dmabuf_mr", "ibv_dereg_mr"};
  std::vector<std::string> those;
  std::ranges::copy_if(calls, std::back_inserter(those), [](const std::string& call) {
    return call.starts_with("ibv_") || call.starts_with("cuMemGet");
  });
  EXPECT_EQ(those, wanted);
  EXPECT_EQ(count_of("cuMemcpyDtoH"), 1U) << "the test's own";
  EXPECT_EQ(cuda_.living(), 0U);
}

TEST_F(VerbsGpu, APairIsDecidedAndToldOnce) {
  const GpuMemory one(cuda_, 1 << 20), two(cuda_, 1 << 20), three(cuda_, 1 << 20, 1);
  Rails rails(settings());
  rails.add_rails(1);
  testing::internal::CaptureStderr();
  const Claim first = rails.registry().add({.bytes = one.span(), .kind = MemoryKind::cuda});
  const Claim second = rails.registry().add({.bytes = two.span(), .kind = MemoryKind::cuda});
  const Claim third = rails.registry().add({.bytes = three.span(), .kind = MemoryKind::cuda});
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::ranges::count(log, '\n'), 2) << "two pairs: " << log;
  EXPECT_EQ(count_of("ibv_reg_dmabuf_mr of no file"), 2U);
  EXPECT_EQ(count_of("ibv_reg_dmabuf_mr"), 3U);
}

TEST_F(VerbsGpu, AMappingThroughPcieIsWantedOnlyOfDriversThatGiveIt) {
  cuda_.refuse_pcie_mapping();
  EXPECT_TRUE(add(settings()).is_dma_buf);
  EXPECT_EQ(count_of("cuMemGetHandleForAddressRange for PCIe"), 1U);
  EXPECT_EQ(count_of("cuMemGetHandleForAddressRange"), 1U);
  calls.clear();
  cuda_.set_version(12020);
  EXPECT_TRUE(add(settings()).is_dma_buf);
  EXPECT_EQ(count_of("cuMemGetHandleForAddressRange for PCIe"), 0U);
}

// Everything that speaks against dma-bufs, with nvidia-peermem and without.
TEST_F(VerbsGpu, WithoutDmaBufPeermemIsTakenAndWithoutThatStaging) {
  struct Row {
    const char* says;
    std::function<void()> spoil;
    Environment environment{};
  };
  const std::vector<Row> rows{
      {"the kernel's driver of fake0 takes none (Operation not supported)",
       [&] { verbs_.set_dma_buf(EOPNOTSUPP); }},
      {"the kernel's driver of fake0 takes none (Protocol not supported)",
       [&] { verbs_.set_dma_buf(EPROTONOSUPPORT); }},
      {"the CUDA driver has none for this GPU", [&] { cuda_.set_attribute(124, 0); }},
      {"the CUDA driver has none for this GPU", [&] { cuda_.forget_attribute(124); }},
      {"the CUDA driver gives no dma-buf: operation not supported",
       [&] { cuda_.refuse_handles(801); }},
      {"the CUDA driver gives no dma-buf: invalid argument", [&] { cuda_.refuse_handles(1); }},
      {"ACCL_DMABUF_ENABLE is 0", [] {}, {{"NCCL_DMABUF_ENABLE", "0"}}},
  };
  for (const Row& row : rows) {
    verbs_.reset();
    cuda_.reset();
    row.spoil();
    Seen seen = add(settings(row.environment));
    EXPECT_FALSE(seen.is_known) << row.says;
    EXPECT_TRUE(holds(seen.log, "staging through host memory, PIX apart")) << seen.log;
    EXPECT_TRUE(holds(seen.log, row.says)) << seen.log;
    EXPECT_TRUE(holds(seen.log, "nvidia-peermem: the kernel module nvidia_peermem is not loaded"))
        << seen.log;
    load_peermem();
    seen = add(settings(row.environment));
    EXPECT_TRUE(seen.is_known && !seen.is_dma_buf) << row.says;
    EXPECT_TRUE(holds(seen.log, "GPUDirect by nvidia-peermem, PIX apart, no flush")) << seen.log;
    EXPECT_TRUE(holds(seen.log, row.says)) << seen.log;
    std::filesystem::remove_all(sysfs_.root() + "/module");
  }
}

TEST_F(VerbsGpu, PeermemThatIsLoadedAndDoesNotWorkIsStaged) {
  load_peermem();
  verbs_.set_peer_memory(nullptr);  // Loaded before the RDMA drivers: nobody asks it.
  verbs_.set_dma_buf(EOPNOTSUPP);
  Seen seen = add(settings());
  EXPECT_FALSE(seen.is_known);
  EXPECT_TRUE(holds(seen.log, "Bad address") && holds(seen.log, "staging")) << seen.log;
  cuda_.set_attribute(116, 0);
  seen = add(settings());
  EXPECT_TRUE(holds(seen.log, "no GPUDirect RDMA for this GPU")) << seen.log;
}

TEST_F(VerbsGpu, TheThreeNamesOfPeermemAreKnown) {
  for (const char* const file :
       {"module/nvidia_peermem/version", "kernel/mm/memory_peers/nv_mem/version",
        "kernel/mm/memory_peers/nv_mem_nc/version"}) {
    const Sysfs sysfs;
    EXPECT_NE(verbs::why_no_peermem(sysfs.root()), "");
    sysfs.write(file, "1\n");
    EXPECT_EQ(verbs::why_no_peermem(sysfs.root()), "") << file;
  }
}

TEST_F(VerbsGpu, DistanceDecidesAsTheLevelSays) {
  struct Row {
    const char* nic;
    int numa_node;
    const char* level;
    bool is_direct;
  };
  const char* const pix = "pci0000:16/0000:16:02.0/0000:17:00.0/0000:18:01.0/0000:1c:00.0";
  const char* const pxb =
      "pci0000:16/0000:16:02.0/0000:17:00.0/0000:18:01.0/0000:1d:00.0/0000:1e:00.0/0000:1c:00.0";
  const char* const phb = "pci0000:16/0000:16:04.0/0000:1c:00.0";
  const char* const sys = "pci0000:80/0000:80:04.0/0000:1c:00.0";
  for (const Row& row : {Row{pix, 0, "", true},
                         {pxb, 0, "", true},
                         {phb, 0, "", false},
                         {sys, 1, "", false},
                         {pix, 0, "LOC", false},
                         {pix, 0, "0", false},
                         {pxb, 0, "PIX", false},
                         {pxb, 0, "1", false},
                         {pxb, 0, "2", true},
                         {phb, 0, "PHB", true},
                         {phb, 0, "3", true},
                         {sys, 1, "3", false},
                         {sys, 1, "4", true},
                         {sys, 1, "5", true},
                         {sys, 1, "SYS", true}}) {
    place_nic(row.nic, row.numa_node);
    const Seen seen = add(settings({{"NCCL_NET_GDR_LEVEL", row.level}}));
    EXPECT_EQ(seen.is_known, row.is_direct) << row.nic << " " << row.level << ": " << seen.log;
    EXPECT_EQ(holds(seen.log, "apart; that is farther than ACCL_NET_GDR_LEVEL="), !row.is_direct)
        << seen.log;
  }
}

TEST_F(VerbsGpu, AWayCanBeForced) {
  load_peermem();
  EXPECT_TRUE(add(settings({{"ACCL_GPU_DIRECT", "auto"}})).is_dma_buf);
  EXPECT_TRUE(add(settings({{"ACCL_GPU_DIRECT", "dmabuf"}})).is_dma_buf);
  Seen seen = add(settings({{"ACCL_GPU_DIRECT", "peermem"}}));
  EXPECT_TRUE(seen.is_known && !seen.is_dma_buf) << seen.log;
  seen = add(settings({{"ACCL_GPU_DIRECT", "staging"}}));
  EXPECT_FALSE(seen.is_known);
  EXPECT_TRUE(holds(seen.log,
                    "staging through host memory, PIX apart; ACCL_GPU_DIRECT asks for "
                    "another way\n"))
      << seen.log;
  place_nic("pci0000:80/0000:80:04.0/0000:1c:00.0", 1);
  seen = add(settings({{"ACCL_GPU_DIRECT", "dmabuf"}}));
  EXPECT_TRUE(seen.is_dma_buf) << "at any distance: " << seen.log;
}

TEST_F(VerbsGpu, AForcedWayThatCannotBeIsAnError) {
  Seen seen = add(settings({{"ACCL_GPU_DIRECT", "peermem"}}));
  EXPECT_FALSE(seen.is_known);
  EXPECT_TRUE(holds(seen.log,
                    "ACCL_GPU_DIRECT=peermem: verbs: GPU 0 (0000:1a:00.0) and fake0 "
                    "(0000:1c:00.0): the kernel module nvidia_peermem is not loaded"))
      << seen.log;
  cuda_.refuse_handles(1);
  seen = add(settings({{"ACCL_GPU_DIRECT", "dmabuf"}}));
  EXPECT_TRUE(holds(seen.log, "which ACCL_GPU_DIRECT forces: the CUDA driver gives no dma-buf"))
      << seen.log;
  verbs_.set_dma_buf(EOPNOTSUPP);
  seen = add(settings({{"ACCL_GPU_DIRECT", "dmabuf"}}));
  EXPECT_TRUE(holds(seen.log, "ACCL_GPU_DIRECT=dmabuf")) << seen.log;
  EXPECT_EQ(cuda_.living(), 0U);
}

TEST_F(VerbsGpu, SettingsThatCannotBeAreNamed) {
  for (const auto& [name, value] : Environment{{"ACCL_NET_GDR_LEVEL", "NEAR"},
                                               {"NCCL_NET_GDR_LEVEL", "-1"},
                                               {"ACCL_GPU_DIRECT", "nvlink"},
                                               {"NCCL_NET_FORCE_FLUSH", "yes"}}) {
    const std::string words = words_of_error(
        [&] {
          static_cast<void>(settings({{name, value}}));
        },
        ErrorKind::invalid_argument);
    EXPECT_TRUE(holds(words, name)) << words;
  }
}

TEST_F(VerbsGpu, ManagedMemoryIsNeverKnownToADevice) {
  load_peermem();
  for (const char* const way : {"auto", "dmabuf"}) {
    calls.clear();
    const Seen seen = add(settings({{"ACCL_GPU_DIRECT", way}}), true);
    EXPECT_FALSE(seen.is_known);
    EXPECT_TRUE(holds(seen.log, "is managed memory, which moves: staging")) << seen.log;
    EXPECT_EQ(count_of("ibv_reg_mr_iova2") + count_of("ibv_reg_dmabuf_mr"), 0U);
  }
}

TEST_F(VerbsGpu, WhatIsNotTheGpusIsRefused) {
  const GpuMemory memory(cuda_, 1 << 20, 1);
  std::vector<std::byte> host(4096);
  Rails rails(settings());
  rails.add_rails(1);
  const auto add = [&](const Memory& memory) { static_cast<void>(rails.registry().add(memory)); };
  std::string words = words_of_error([&] { add({.bytes = host, .kind = MemoryKind::cuda}); },
                                     ErrorKind::invalid_argument);
  EXPECT_TRUE(holds(words, "no memory of a GPU")) << words;
  words =
      words_of_error([&] { add({.bytes = memory.span(), .kind = MemoryKind::cuda, .device = 0}); },
                     ErrorKind::invalid_argument);
  EXPECT_TRUE(holds(words, "memory of GPU 1, not of GPU 0")) << words;
  words = words_of_error([&] { add({.bytes = memory.span()}); }, ErrorKind::system);
  EXPECT_TRUE(holds(words, "Bad address")) << words << ": it said it was the host's";
}

TEST_F(VerbsGpu, WithoutADriverOneSentenceSaysSo) {
  Settings wanted = settings();
  wanted.gpu.cuda_library = "libno-such-cuda.so.1";
  Rails rails(wanted);
  rails.add_rails(1);
  std::vector<std::byte> host(4096);
  const std::string words = words_of_error(
      [&] { static_cast<void>(rails.registry().add({.bytes = host, .kind = MemoryKind::cuda})); },
      ErrorKind::system);
  EXPECT_TRUE(holds(words, "libno-such-cuda.so.1")) << words;
  const Claim claim = rails.registry().add({.bytes = host});
  EXPECT_NE(claim.registration().on(0), nullptr) << "the host's memory needs none";
}

// An allocation that was freed while somebody still held it, and another one at its address.
TEST_F(VerbsGpu, OtherMemoryAtAnAddressStillHeldIsSeenToBeOther) {
  Rails rails(settings());
  rails.add_rails(1);
  auto memory = std::make_unique<GpuMemory>(cuda_, 2 << 20);
  std::byte* const address = memory->data();
  const Claim stale = rails.registry().add({.bytes = memory->span(), .kind = MemoryKind::cuda});
  memory.reset();
  memory = std::make_unique<GpuMemory>(cuda_, 2 << 20, 0, false, address);
  memory->real()[0] = std::byte{9};
  testing::internal::CaptureStderr();
  const Claim fresh =
      rails.registry().add({.bytes = memory->span().first(4096), .kind = MemoryKind::cuda});
  EXPECT_TRUE(holds(testing::internal::GetCapturedStderr(), "freed while it was registered"));
  std::byte value{};
  ASSERT_TRUE(verbs_.read(fresh.registration().on(0)->lkey,
                          reinterpret_cast<std::uint64_t>(address), &value, 1));
  EXPECT_EQ(value, std::byte{9});
  EXPECT_EQ(rails.registry().find(memory->span()), nullptr) << "only its first page was added";
}

// --- Flush ---------------------------------------------------------------------------------------

TEST_F(VerbsGpu, AFlushIsMadeWhereTheGpuNeedsOne) {
  struct Row {
    int ordering, options;
    Environment environment;
    Flush flush;
    const char* says;
  };
  const Environment never{{"NCCL_GDR_FLUSH_DISABLE", "1"}}, always{{"NCCL_NET_FORCE_FLUSH", "1"}};
  for (const Row& row : {Row{100, 1, {}, Flush::none, "no flush"},
                         {200, 0, {}, Flush::none, "no flush"},
                         {0, 1, {}, Flush::by_driver, "flush by the CUDA driver"},
                         {0, 3, {}, Flush::by_driver, "flush by the CUDA driver"},
                         {0, 0, {}, Flush::by_read, "flush by reading back"},
                         {0, 2, {}, Flush::by_read, "flush by reading back"},
                         {0, 1, never, Flush::none, "no flush"},
                         {100, 1, always, Flush::by_driver, "flush by the CUDA driver"}}) {
    cuda_.set_attribute(118, row.ordering);
    cuda_.set_attribute(117, row.options);
    const GpuMemory memory(cuda_, 1 << 20);
    Rails rails(settings(row.environment));
    rails.add_rails(1);
    testing::internal::CaptureStderr();
    const Claim claim = rails.registry().add({.bytes = memory.span(), .kind = MemoryKind::cuda});
    const std::string log = testing::internal::GetCapturedStderr();
    EXPECT_EQ(claim.registration().gpu()->flush, row.flush) << log;
    EXPECT_TRUE(holds(log, row.says)) << log;
    calls.clear();
    const std::uint64_t reads = verbs_.counts().reads;
    EXPECT_EQ(rails.registry().flush(claim.registration()), "");
    EXPECT_EQ(verbs_.counts().reads - reads, row.flush == Flush::by_read ? 1U : 0U);
    EXPECT_EQ(count_of("cuFlushGPUDirectRDMAWrites"), row.flush == Flush::by_driver ? 1U : 0U);
  }
}

TEST_F(VerbsGpu, ByReadingBackEveryDeviceFlushesItsOwn) {
  cuda_.set_attribute(118, 0);
  cuda_.set_attribute(117, 0);
  verbs_.set_devices(3);
  for (const char* const nic : {"fake1", "fake2"}) {
    sysfs_.place_nic(nic, switch_ + "0000:18:03.0/0000:1d:00.0", 0);
  }
  const GpuMemory memory(cuda_, 1 << 20);
  Rails rails(settings());
  rails.add_rails(2);
  verbs::Registry& registry = rails.registry();
  const Claim claim = registry.add({.bytes = memory.span(), .kind = MemoryKind::cuda});
  EXPECT_EQ(registry.flush(claim.registration()), "");
  EXPECT_EQ(verbs_.counts().reads, 2U);
  registry.add_rail(rails.port(2));
  registry.drop_rail(0);
  EXPECT_EQ(registry.flush(claim.registration()), "");
  EXPECT_EQ(verbs_.counts().reads, 4U);
  verbs_.break_request(1, IBV_WC_RETRY_EXC_ERR, 0);
  const std::string words = registry.flush(claim.registration());
  EXPECT_TRUE(holds(words, "does not read back what it wrote: transport retry")) << words;
  EXPECT_EQ(registry.flush(claim.registration()), words) << "a dead device stays dead";
}

}  // namespace
}  // namespace accl::test
