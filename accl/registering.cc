// registering.cc - memory that users make known to the network's devices, and take away again.
#include <cstddef>
#include <cstdint>
#include <limits>

#include "accl/base/assert.h"
#include "accl/base/error.h"
#include "accl/base/log.h"
#include "accl/calls.h"
#include "accl/group.h"

namespace accl {
namespace {

// No object is larger, and none reaches round the end of all addresses.
void check_memory(std::span<const std::byte> memory) {
  constexpr auto most = std::numeric_limits<std::ptrdiff_t>::max();
  const auto at = reinterpret_cast<std::uintptr_t>(memory.data());
  if (memory.data() == nullptr) {
    fail(ErrorKind::invalid_argument, "the memory to register is NULL; give its address");
  }
  if (memory.empty()) {
    fail(ErrorKind::invalid_argument, "0 bytes to register at {}; give at least one",
         static_cast<const void*>(memory.data()));
  }
  const std::uintptr_t room = std::numeric_limits<std::uintptr_t>::max() - at;
  if (memory.size() > static_cast<std::size_t>(most) || memory.size() > room) {
    fail(ErrorKind::invalid_argument, "{} bytes to register at {} are more than memory has",
         memory.size(), static_cast<const void*>(memory.data()));
  }
}

class GroupMemory final : public RegisteredMemory {
 public:
  explicit GroupMemory(std::shared_ptr<Lifeline> lifeline) : lifeline_(std::move(lifeline)) {}
  ~GroupMemory() override {
    try {
      end();
    } catch (const Error& error) {  // Then it ends with the group.
      log(LogLevel::warning, "a registration stays, and its memory must too: {}", error.what());
    }
  }

  void end() override {
    if (number_ == 0) return;
    const std::lock_guard lock(lifeline_->mutex);
    if (lifeline_->group != nullptr) lifeline_->group->drop(number_);
    number_ = 0;
  }

  void begin(std::uint64_t number) { number_ = number; }

 private:
  const std::shared_ptr<Lifeline> lifeline_;
  std::uint64_t number_ = 0;  // 0: it has not begun, or has ended.
};

}  // namespace

std::unique_ptr<RegisteredMemory> Group::add(std::span<std::byte> memory) {
  check_memory(memory);
  auto handle = std::make_unique<GroupMemory>(lifeline_);  // Goes after the lock, which it takes.
  const Lock lock = enter();
  if (failed_) throw *failed_;
  if (watch_->failed()) throw watch_->verdict();
  const std::uint64_t number = ++registrations_;
  Registered added{.memory = memory,
                   .block = process_heap().find(memory.data(), memory.size()),
                   .network = connections_.add_to_network({.bytes = memory})};
  registered_.emplace(number, std::move(added));
  handle->begin(number);
  return handle;
}

void Group::drop(std::uint64_t number) {
  const Lock lock = enter();
  const auto found = registered_.find(number);
  ACCL_ASSERT(found != registered_.end(), number);
  const std::span<const std::byte> memory = found->second.memory;
  for (const auto& pending : pending_) {
    if (!uses(pending->call, size(), self_, memory)) continue;
    fail(ErrorKind::invalid_usage,
         "a started {} uses the memory at {} that is to be deregistered; wait for it first",
         name_of(pending->call.collective), static_cast<const void*>(memory.data()));
  }
  registered_.erase(found);
}

}  // namespace accl
