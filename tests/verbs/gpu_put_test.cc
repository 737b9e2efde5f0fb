// gpu_put_test.cc - what is sent from the memory of a GPU, and what happens when a call of either
// library fails.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "tests/transport/world.h"
#include "tests/verbs/gpu_rig.h"
#include "transport/verbs/verbs.h"

namespace accl::test {
namespace {

constexpr Geometry geometry{.lanes = 2, .ring_bytes = 64 << 10};

// What a target held, and its message's reader knew, when the driver was asked to flush.
struct SeenAtFlush {
  std::ptrdiff_t payload = 0;
  std::uint32_t arrived = 0;
};
SeenAtFlush seen_at_flush;
std::function<void()> look_at_flush;

class VerbsGpuPut : public VerbsGpu {
 protected:
  std::unique_ptr<Transport> make(const Environment& environment = {},
                                  const Geometry& rings = geometry) const {
    return make_verbs_transport(
        rings, {.shared_object = FakeVerbs::library(), .settings = settings(environment)});
  }

  // A message of two pieces: one of the host, one of the GPU.
  static bool put(const Joined& here, std::span<const std::byte> host,
                  std::span<const std::byte> gpu) {
    const std::array pieces{host, gpu};
    const auto bytes = static_cast<std::uint32_t>(host.size() + gpu.size());
    return here.endpoint->put(
        0,
        {.head = {.bytes = bytes}, .offset = 0, .until = message_units(bytes), .pieces = pieces});
  }
};

TEST_F(VerbsGpuPut, BytesOfAGpuArriveHoweverTheyAreRegistered) {
  for (const char* const way : {"dmabuf", "staging"}) {
    auto [here, there] = join_pair(make({{"ACCL_GPU_DIRECT", way}}), make());
    const GpuMemory memory(cuda_, 1 << 20);
    const std::vector<std::byte> host(100, std::byte{3});
    const std::unique_ptr<Region> region =
        here.transport->add({.bytes = memory.span(), .kind = MemoryKind::cuda, .device = 0});
    EXPECT_EQ(region->key().words[2] != 0, std::string(way) == "dmabuf");
    std::memset(memory.real() + 777, 4, 5000);
    ASSERT_TRUE(put(here, host, memory.span().subspan(777, 5000)));
    const Deadline deadline(patience);
    while (there.endpoint->counters(0).arrived->load() == 0 && !deadline.passed()) {
      here.transport->poll();
      there.transport->poll();
    }
    const std::byte* const at = there.endpoint->inbox(0) + payload_offset(5100);
    EXPECT_EQ(at[99], std::byte{3});
    EXPECT_EQ(at[100], std::byte{4});
    EXPECT_EQ(at[5099], std::byte{4});
  }
}

TEST_F(VerbsGpuPut, ALargePayloadLeavesAGpuThatIsNearWithoutACopy) {
  constexpr Geometry roomy{.lanes = 1, .ring_bytes = 1 << 20};
  constexpr std::uint32_t bytes = 100'000;
  const Environment direct{{"ACCL_GPU_DIRECT", "dmabuf"}};
  const Environment staging{{"ACCL_GPU_DIRECT", "staging"}};
  Environment unread = direct;
  unread["NCCL_NET_GDR_READ"] = "0";
  for (const Environment& environment : {direct, unread, staging}) {
    const bool is_direct = environment == direct;
    auto [here, there] = join_pair(make(environment, roomy), make({}, roomy));
    const GpuMemory memory(cuda_, 1 << 20);
    const std::unique_ptr<Region> region =
        here.transport->add({.bytes = memory.span(), .kind = MemoryKind::cuda, .device = 0});
    EXPECT_EQ(region->key().words[2] != 0, environment != staging) << "for peers";
    std::memset(memory.real() + 4000, 5, bytes);
    calls.clear();
    const std::span<const std::byte> piece = memory.span().subspan(4000, bytes);
    ASSERT_TRUE(here.endpoint->put(0, {.head = {.bytes = bytes},
                                       .offset = 0,
                                       .until = message_units(bytes),
                                       .pieces = {&piece, 1}}));
    EXPECT_EQ(count_of("cuMemcpyDtoH"), is_direct ? 0U : 1U);
    const Deadline deadline(patience);
    while (there.endpoint->counters(0).arrived->load() == 0 && !deadline.passed()) {
      here.transport->poll();
      there.transport->poll();
    }
    const std::byte* const at = there.endpoint->inbox(0) + payload_offset(bytes);
    EXPECT_EQ(std::count(at, at + bytes, std::byte{5}), bytes);
  }
}

TEST_F(VerbsGpuPut, AGpuThatCannotBeReadEndsTheConnectionInWords) {
  auto [here, there] = join_pair(make(), make());
  const GpuMemory memory(cuda_, 1 << 20);
  const std::unique_ptr<Region> region =
      here.transport->add({.bytes = memory.span(), .kind = MemoryKind::cuda});
  cuda_.fail_call(2, 201);  // After the context was made current.
  EXPECT_FALSE(put(here, {}, memory.span().first(1000)));
  for (const Deadline deadline(patience); !here.endpoint->broken() && !deadline.passed();) {
    here.transport->poll();
  }
  EXPECT_TRUE(holds(here.endpoint->failure(), "invalid device context (CUDA error 201)"))
      << here.endpoint->failure();
}

// A payload that a GPU's memory expects: it is there, then it is flushed, then anybody is told.
TEST_F(VerbsGpuPut, APayloadLandsInAGpuAndIsFlushedBeforeAnybodyIsTold) {
  constexpr Geometry roomy{.lanes = 1, .ring_bytes = 1 << 20};
  constexpr std::uint32_t bytes = 100'000;
  struct Row {
    int ordering, flush_options;
    std::uint32_t by_driver, by_read;
  };
  for (const Row& row : {Row{100, 1, 0, 0}, Row{0, 1, 1, 0}, Row{0, 0, 0, 1}}) {
    cuda_.set_attribute(118, row.ordering);
    cuda_.set_attribute(117, row.flush_options);
    auto [here, there] = join_pair(make({}, roomy), make({{"ACCL_GPU_DIRECT", "dmabuf"}}, roomy));
    const GpuMemory memory(cuda_, 1 << 20);
    const std::unique_ptr<Region> region =
        there.transport->add({.bytes = memory.span(), .kind = MemoryKind::cuda, .device = 0});
    std::byte* const real = memory.real();  // To ask would lock what records.
    std::memset(real, 0, 1 << 20);
    const std::uint32_t until = message_units(bytes);
    ASSERT_TRUE(there.endpoint->expect(0, until, memory.span().subspan(4000, bytes)));
    const std::vector<std::byte> payload(bytes, std::byte{5});
    const std::span<const std::byte> piece(payload);
    const std::uint64_t reads = verbs_.counts().reads;
    seen_at_flush = {};
    look_at_flush = [&] {
      seen_at_flush = {std::count(real + 4000, real + 4000 + bytes, std::byte{5}),
                       there.endpoint->counters(0).arrived->load()};
    };
    cuda_.set_recorder([](const char* call) {
      record(call);
      if (holds(call, "cuFlush")) look_at_flush();
    });
    calls.clear();
    ASSERT_TRUE(here.endpoint->put(
        0, {.head = {.bytes = bytes}, .offset = 0, .until = until, .pieces = {&piece, 1}}));
    EXPECT_EQ(count_of("cuFlushGPUDirectRDMAWrites"), 0U) << "nobody has looked yet";
    const Deadline deadline(patience);
    while (there.endpoint->counters(0).arrived->load() == 0 && !deadline.passed()) {
      there.transport->poll();
    }
    EXPECT_TRUE(there.endpoint->took(0, until));
    EXPECT_EQ(std::count(real, real + (1 << 20), std::byte{5}), bytes);
    EXPECT_EQ(count_of("cuFlushGPUDirectRDMAWrites"), row.by_driver);
    EXPECT_EQ(verbs_.counts().reads - reads, row.by_read);
    if (row.by_driver == 0) continue;
    EXPECT_EQ(seen_at_flush.payload, bytes) << "the write comes first";
    EXPECT_EQ(seen_at_flush.arrived, 0U) << "and who waits is told last";
  }
}

TEST_F(VerbsGpuPut, AGpuThatCannotBeFlushedEndsTheConnectionInWords) {
  constexpr Geometry roomy{.lanes = 1, .ring_bytes = 1 << 20};
  constexpr std::uint32_t bytes = 100'000;
  cuda_.set_attribute(118, 0);
  cuda_.set_attribute(117, 1);
  auto [here, there] = join_pair(make({}, roomy), make({}, roomy));
  const GpuMemory memory(cuda_, 1 << 20);
  const std::unique_ptr<Region> region =
      there.transport->add({.bytes = memory.span(), .kind = MemoryKind::cuda});
  const std::uint32_t until = message_units(bytes);
  ASSERT_TRUE(there.endpoint->expect(0, until, memory.span().first(bytes)));
  const std::vector<std::byte> payload(bytes, std::byte{5});
  const std::span<const std::byte> piece(payload);
  ASSERT_TRUE(here.endpoint->put(
      0, {.head = {.bytes = bytes}, .offset = 0, .until = until, .pieces = {&piece, 1}}));
  cuda_.fail_call(1, 201);
  for (const Deadline deadline(patience); !there.endpoint->broken() && !deadline.passed();) {
    there.transport->poll();
  }
  EXPECT_TRUE(holds(there.endpoint->failure(), "flushed")) << there.endpoint->failure();
  EXPECT_EQ(there.endpoint->counters(0).arrived->load(), 0U) << "nobody reads what is not there";
}

TEST_F(VerbsGpuPut, MemoryOfAGpuThatIsStagedIsNoTarget) {
  constexpr Geometry roomy{.lanes = 1, .ring_bytes = 1 << 20};
  auto [here, there] = join_pair(make({}, roomy), make({{"ACCL_GPU_DIRECT", "staging"}}, roomy));
  const GpuMemory memory(cuda_, 1 << 20);
  const std::unique_ptr<Region> region =
      there.transport->add({.bytes = memory.span(), .kind = MemoryKind::cuda});
  EXPECT_FALSE(there.endpoint->expect(0, 2000, memory.span().first(100'000)));
}

// Each call of adding GPU memory in turn, of either library.
TEST_F(VerbsGpuPut, WhicheverCallFailsThereIsAnotherWayOrWords) {
  load_peermem();
  const GpuMemory memory(cuda_, 1 << 20);
  const std::size_t files = open_files();
  std::uint32_t refused = 0, direct = 0, staged = 0;
  for (const int round : {0, 1, 2, 3}) {
    const bool is_cuda = round % 2 == 0;  // Whose calls fail.
    const bool reads_back = round >= 2;
    cuda_.set_attribute(118, reads_back ? 0 : 100);
    cuda_.set_attribute(117, reads_back ? 0 : 1);
    bool is_last = false;
    for (std::uint32_t k = 1; !is_last; ++k) {
      testing::internal::CaptureStderr();
      cuda_.fail_call(0, 0);
      try {
        const std::unique_ptr<Transport> transport = make();
        is_cuda ? cuda_.fail_call(k, 2) : verbs_.fail_call(k, ENOMEM);
        const std::unique_ptr<Region> region =
            transport->add({.bytes = memory.span(), .kind = MemoryKind::cuda});
        is_last = (is_cuda ? cuda_.calls() : verbs_.calls()) < k;
        ++(region->key().words[2] != 0 ? direct : staged);
      } catch (const Error& error) {
        ++refused;
        EXPECT_TRUE(holds(error.what(), "CUDA")) << error.what();
        EXPECT_TRUE(holds(error.what(), "out of memory")) << error.what();
      }
      static_cast<void>(testing::internal::GetCapturedStderr());
      EXPECT_EQ(verbs_.living(), 0U) << "after call " << k << " failed";
      EXPECT_EQ(cuda_.living(), 1U) << "after call " << k << " failed: only the memory lives";
      EXPECT_EQ(open_files(), files) << "after call " << k << " failed";
    }
    cuda_.fail_call(0, 0);
    verbs_.fail_call(0, 0);
  }
  EXPECT_GE(refused, 10U);
  EXPECT_GE(direct, 16U);
  EXPECT_EQ(staged, 6U) << "peermem is there, but for what reads back: its memory, its two queues "
                           "and three steps of connecting";
}

}  // namespace
}  // namespace accl::test
