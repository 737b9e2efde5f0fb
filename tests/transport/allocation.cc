// Counts what this thread allocates, by its own operator new: malloc, and one more.
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

#include "tests/transport/member.h"

namespace {

thread_local std::uint64_t allocations = 0;

}  // namespace

void* operator new(std::size_t bytes) {
  ++allocations;
  if (void* const memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace accl::test {

AllocationCheck::AllocationCheck() : before_(allocations) {}
AllocationCheck::~AllocationCheck() {
  EXPECT_TRUE(forgiven_ || allocations == before_) << "a transport allocated";
}

}  // namespace accl::test
