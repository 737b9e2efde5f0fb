// register_test.cc - accl_register and accl_deregister: ranks are threads, and over verbs their
// NICs are those of the fake libibverbs, which tells what it sent from where.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "accl/accl.hpp"
#include "tests/verbs/fake_library.h"

namespace accl::test {
namespace {

using Bytes = std::span<std::byte>;
constexpr std::size_t large = 1 << 20;
constexpr std::chrono::seconds patience{20};

bool holds(const std::string& text, const std::string& word) {
  return text.find(word) != std::string::npos;
}

// Two ranks; comms[r] is rank r's.
class Pair {
 public:
  explicit Pair(const char* transport) {
    accl_unique_id_t id;
    check(accl_get_unique_id(&id));
    accl_config_t config{};
    config.size = sizeof config;
    config.transport = transport;
    config.timeout_ms = 20'000;
    both([&](int rank) { check(accl_comm_create(&comms[index(rank)], 2, &id, rank, &config)); });
  }
  ~Pair() {
    both([&](int rank) { destroy(rank); });
  }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;

  template <class Action>
  static void both(const Action& action) {
    auto other = std::async(std::launch::async, [&] { action(1); });
    action(0);
    other.get();
  }

  void destroy(int rank) {
    EXPECT_EQ(accl_comm_destroy(std::exchange(comms[index(rank)], nullptr)), ACCL_SUCCESS);
  }

  // Rank 0's bytes come to rank 1.
  void broadcast(Bytes from) {
    std::vector<std::byte> got(from.size());
    both([&](int rank) {
      void* const data = rank == 0 ? from.data() : got.data();
      accl_comm_t* const comm = comms[index(rank)];
      check(accl_broadcast(data, data, from.size(), ACCL_UINT8, 0, comm), comm);
    });
    EXPECT_TRUE(std::ranges::equal(got, from));
  }

  accl_registration_t* add(Bytes memory, int rank = 0) {
    accl_registration_t* registration = nullptr;
    accl_comm_t* const comm = comms[index(rank)];
    check(accl_register(comm, memory.data(), memory.size(), &registration), comm);
    EXPECT_NE(registration, nullptr);
    return registration;
  }

  static std::size_t index(int rank) { return static_cast<std::size_t>(rank); }
  std::array<accl_comm_t*, 2> comms{};
};

std::vector<std::byte> filled(std::size_t bytes = large) {
  std::vector<std::byte> memory(bytes);
  for (std::size_t i = 0; i < bytes; ++i) memory[i] = static_cast<std::byte>(i * 7 + i / 4096);
  return memory;
}

class Register : public testing::Test {
 protected:
  void TearDown() override {
    EXPECT_STREQ(fake_.violation(), "");
    EXPECT_EQ(fake_.living(), 0U) << "objects of libibverbs that nobody ended";
  }

  // Messages that left from where they lay while this was broadcast.
  std::uint64_t sent_in_place(Pair& ranks, Bytes memory) const {
    const std::uint64_t before = fake_.counts().gathered;
    ranks.broadcast(memory);
    return fake_.counts().gathered - before;
  }

  // Devices that know all of it.
  std::size_t knowers(std::span<const std::byte> memory) const {
    const auto at = reinterpret_cast<std::uint64_t>(memory.data());
    const std::vector<FakeVerbsRegion> regions = fake_.regions();
    return static_cast<std::size_t>(std::ranges::count_if(regions, [&](const auto& one) {
      return one.address <= at && at + memory.size() <= one.address + one.bytes;
    }));
  }

  FakeVerbs fake_;
};

TEST_F(Register, WhatIsRegisteredIsSentFromWhereItLiesUntilItIsDeregistered) {
  std::vector<std::byte> memory = filled();
  Pair ranks("verbs");
  EXPECT_EQ(sent_in_place(ranks, memory), 0U) << "nobody registered it";
  accl_registration_t* const registration = ranks.add(memory);
  EXPECT_EQ(knowers(memory), 1U);
  EXPECT_GE(sent_in_place(ranks, memory), 2U);
  std::vector<std::byte> other = filled();
  EXPECT_EQ(sent_in_place(ranks, other), 0U) << "this is other memory";
  EXPECT_EQ(accl_deregister(registration), ACCL_SUCCESS);
  EXPECT_EQ(knowers(memory), 0U);
  EXPECT_EQ(sent_in_place(ranks, memory), 0U);
}

TEST_F(Register, BeforeTheFirstCallIsEarlyEnough) {
  std::vector<std::byte> memory = filled();
  Pair ranks("verbs");
  accl_registration_t* const registration = ranks.add(memory);
  EXPECT_EQ(knowers(memory), 1U);
  EXPECT_GE(sent_in_place(ranks, memory), 2U);
  EXPECT_EQ(accl_deregister(registration), ACCL_SUCCESS);
}

TEST_F(Register, TransportsWithoutAUseForItSucceedAndDoNothing) {
  for (const char* const transport : {"shm", "tcp", "auto"}) {
    std::vector<std::byte> memory = filled();
    Pair ranks(transport);
    accl_registration_t* const registration = ranks.add(memory);
    ranks.broadcast(memory);
    EXPECT_EQ(accl_deregister(registration), ACCL_SUCCESS) << transport;
    ranks.broadcast(memory);
    EXPECT_EQ(fake_.living(), 0U) << transport;
  }
}

TEST_F(Register, EachRegistrationEndsByItself) {
  std::vector<std::byte> memory = filled();
  const Bytes inside = Bytes(memory).subspan(large / 4, large / 2);
  Pair ranks("verbs");
  std::array registrations{ranks.add(memory), ranks.add(memory), ranks.add(inside)};
  EXPECT_EQ(knowers(inside), 1U) << "devices need to know it once";
  EXPECT_EQ(accl_deregister(registrations[0]), ACCL_SUCCESS);
  EXPECT_GE(sent_in_place(ranks, memory), 2U);
  EXPECT_EQ(accl_deregister(registrations[1]), ACCL_SUCCESS);
  EXPECT_EQ(sent_in_place(ranks, Bytes(memory).first(large / 4)), 0U);
  EXPECT_GE(sent_in_place(ranks, inside), 1U);
  EXPECT_EQ(accl_deregister(registrations[2]), ACCL_SUCCESS);
  EXPECT_EQ(sent_in_place(ranks, inside), 0U);
}

TEST_F(Register, CommunicatorsOfOneProcessHaveTheirOwn) {
  std::vector<std::byte> memory = filled();
  Pair first("verbs"), second("verbs");
  accl_registration_t* const one = first.add(memory);
  EXPECT_EQ(sent_in_place(second, memory), 0U);
  accl_registration_t* const other = second.add(memory);
  EXPECT_EQ(knowers(memory), 2U);
  EXPECT_EQ(accl_deregister(one), ACCL_SUCCESS);
  EXPECT_EQ(sent_in_place(first, memory), 0U);
  EXPECT_GE(sent_in_place(second, memory), 2U);
  EXPECT_EQ(accl_deregister(other), ACCL_SUCCESS);
}

TEST_F(Register, WhatCannotBeIsRefusedInASentence) {
  std::vector<std::byte> memory(100);
  Pair ranks("verbs");
  accl_comm_t* const comm = ranks.comms[0];
  accl_registration_t* registration = nullptr;
  const auto words = [&](accl_comm_t* of, void* at, std::size_t bytes, accl_registration_t** to) {
    EXPECT_EQ(accl_register(of, at, bytes, to), ACCL_INVALID_ARGUMENT);
    EXPECT_EQ(registration, nullptr);
    const std::string said = accl_last_error(of);
    EXPECT_FALSE(holds(said, "\n")) << said;
    return said;
  };
  EXPECT_TRUE(holds(words(nullptr, memory.data(), 100, &registration), "communicator is NULL"));
  EXPECT_TRUE(holds(words(comm, memory.data(), 100, nullptr), "place for the registration"));
  EXPECT_TRUE(holds(words(comm, nullptr, 100, &registration), "memory to register is NULL"));
  EXPECT_TRUE(holds(words(comm, memory.data(), 0, &registration), "at least one"));
  void* const last = reinterpret_cast<void*>(UINTPTR_MAX - 10);
  EXPECT_TRUE(holds(words(comm, last, 100, &registration), "more than memory has"));
  EXPECT_TRUE(holds(words(comm, memory.data(), SIZE_MAX / 2 + 1, &registration), "more than"));
  EXPECT_EQ(accl_deregister(nullptr), ACCL_SUCCESS);
}

// Every call of the library fails in turn; the last one is that which registers.
TEST_F(Register, ARefusalNamesTheLimitAndLeavesAllAsItWas) {
  std::vector<std::byte> memory = filled();
  Pair ranks("verbs");
  accl_registration_t* registration = nullptr;
  std::string words;
  std::uint32_t k = 0;
  do {
    fake_.fail_call(++k, ENOMEM);
    const accl_result_t result =
        accl_register(ranks.comms[0], memory.data(), memory.size(), &registration);
    if (result == ACCL_SUCCESS) break;
    EXPECT_EQ(result, ACCL_SYSTEM_ERROR);
    words = accl_last_error(ranks.comms[0]);
    EXPECT_FALSE(holds(words, "\n")) << words;
    EXPECT_EQ(registration, nullptr);
    EXPECT_EQ(knowers(memory), 0U);
  } while (k < 100);
  fake_.fail_call(0, 0);
  EXPECT_GT(k, 2U);
  EXPECT_TRUE(holds(words, "does not register") && holds(words, "ulimit -l")) << words;
  ASSERT_NE(registration, nullptr);
  EXPECT_GE(sent_in_place(ranks, memory), 2U) << "the communicator works";
  EXPECT_EQ(accl_deregister(registration), ACCL_SUCCESS);
}

TEST_F(Register, WhileAStartedCallUsesItItStays) {
  std::vector<std::byte> memory = filled(), out(large), unused = filled(), theirs(2 * large);
  Pair ranks("verbs");
  ranks.broadcast(memory);
  std::array registrations{ranks.add(Bytes(memory).last(100)), ranks.add(Bytes(out).first(100)),
                           ranks.add(unused)};
  accl_request_t* request = nullptr;
  accl_comm_t* const comm = ranks.comms[0];
  check(
      accl_allreduce_start(memory.data(), out.data(), large, ACCL_UINT8, ACCL_SUM, comm, &request),
      comm);
  for (const int which : {0, 1}) {
    EXPECT_EQ(accl_deregister(registrations[static_cast<std::size_t>(which)]), ACCL_INVALID_USAGE);
    const std::string words = accl_last_error(nullptr);
    EXPECT_TRUE(holds(words, "started allreduce") && holds(words, "wait for it")) << words;
  }
  EXPECT_EQ(accl_deregister(registrations[2]), ACCL_SUCCESS) << "the call does not use that";
  auto peer = std::async(std::launch::async, [&] {
    const std::byte* const send = theirs.data();
    return accl_allreduce(send, theirs.data() + large, large, ACCL_UINT8, ACCL_SUM, ranks.comms[1]);
  });
  EXPECT_EQ(accl_wait(request), ACCL_SUCCESS);
  EXPECT_EQ(peer.get(), ACCL_SUCCESS);
  EXPECT_EQ(out, memory) << "the other one's are zeros";
  EXPECT_EQ(accl_deregister(registrations[0]), ACCL_SUCCESS);
  EXPECT_EQ(accl_deregister(registrations[1]), ACCL_SUCCESS);
}

TEST_F(Register, ACallOfAnotherThreadIsWaitedFor) {
  std::vector<std::byte> memory = filled(), got(large);
  Pair ranks("verbs");
  ranks.broadcast(memory);
  accl_registration_t* const registration = ranks.add(memory);
  const std::uint64_t before = fake_.counts().gathered;
  auto call = std::async(std::launch::async, [&] {
    return accl_sendrecv(memory.data(), large, 1, got.data(), large, 1, ACCL_UINT8, ranks.comms[0]);
  });
  while (fake_.counts().gathered == before) std::this_thread::yield();  // Until it is inside.
  auto end = std::async(std::launch::async, [&] { return accl_deregister(registration); });
  EXPECT_EQ(end.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);
  std::vector<std::byte> theirs = filled(), room(large);
  EXPECT_EQ(
      accl_sendrecv(theirs.data(), large, 0, room.data(), large, 0, ACCL_UINT8, ranks.comms[1]),
      ACCL_SUCCESS);
  ASSERT_EQ(end.wait_for(patience), std::future_status::ready);
  EXPECT_EQ(end.get(), ACCL_SUCCESS);
  EXPECT_EQ(call.get(), ACCL_SUCCESS);
  EXPECT_EQ(room, memory);
}

TEST_F(Register, AfterAnAbortNothingIsRegisteredButAllCanBeGivenBack) {
  std::vector<std::byte> memory = filled();
  Pair ranks("verbs");
  ranks.broadcast(memory);
  accl_registration_t* const registration = ranks.add(memory);
  EXPECT_EQ(accl_comm_abort(ranks.comms[0]), ACCL_SUCCESS);
  EXPECT_EQ(accl_barrier(ranks.comms[0]), ACCL_ABORTED);
  accl_registration_t* none = nullptr;
  EXPECT_EQ(accl_register(ranks.comms[0], memory.data(), large, &none), ACCL_ABORTED);
  EXPECT_EQ(none, nullptr);
  EXPECT_EQ(accl_deregister(registration), ACCL_SUCCESS);
  EXPECT_EQ(knowers(memory), 0U);
}

TEST_F(Register, TheCommunicatorMayEndFirst) {
  std::vector<std::byte> memory = filled();
  Pair ranks("verbs");
  ranks.broadcast(memory);
  accl_registration_t* const registration = ranks.add(memory);
  ranks.destroy(0);
  EXPECT_EQ(knowers(memory), 0U);
  EXPECT_EQ(accl_deregister(registration), ACCL_SUCCESS);
}

// Else what is mapped there next would be taken for it.
TEST_F(Register, MemoryOfOursStaysMappedUntilItIsDeregistered) {
  Pair ranks("verbs");
  void* first = nullptr;
  check(accl_alloc(&first, large));
  accl_registration_t* const registration = ranks.add({static_cast<std::byte*>(first), large});
  EXPECT_EQ(accl_free(first), ACCL_SUCCESS);
  void* second = nullptr;
  check(accl_alloc(&second, large));
  EXPECT_NE(first, second);
  static_cast<std::byte*>(first)[large - 1] = std::byte{1};  // It is there.
  EXPECT_EQ(accl_deregister(registration), ACCL_SUCCESS);
  EXPECT_EQ(accl_free(second), ACCL_SUCCESS);
}

TEST_F(Register, OwnersEndTheirs) {
  std::vector<std::byte> memory = filled();
  setenv("ACCL_TRANSPORT", "verbs", 1);
  accl_unique_id_t id;
  check(accl_get_unique_id(&id));
  Pair::both([&](int rank) {
    Comm comm(2, id, rank);
    if (rank == 0) {
      Registration registration = comm.register_memory(Bytes(memory));
      EXPECT_EQ(knowers(memory), 1U);
      registration.end();
      EXPECT_EQ(knowers(memory), 0U);
      registration = comm.register_memory(Bytes(memory));
    }
    EXPECT_EQ(knowers(memory), 0U);
    comm.barrier();
  });
  unsetenv("ACCL_TRANSPORT");
}

}  // namespace
}  // namespace accl::test
