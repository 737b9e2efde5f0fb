#include "transport/verbs/memory.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <utility>

#include "accl/base/assert.h"
#include "accl/base/error.h"
#include "accl/base/log.h"
#include "transport/verbs/registering.h"

namespace accl::verbs {
namespace {

// Of different arrays too.
bool is_before(const std::byte* one, const std::byte* other) {
  return std::less<const std::byte*>()(one, other);
}

std::string text_of(const Registration& registration) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t bytes = registration.bytes().size();
  return fmt::format("{} bytes at {} (some {} pages of {})", bytes,
                     static_cast<const void*>(registration.bytes().data()),
                     (bytes + page - 1) / page, page);
}

}  // namespace

Registry::~Registry() { ACCL_ASSERT(registrations_.empty(), registrations_.size()); }

// --- Rails ---------------------------------------------------------------------------------------

std::size_t Registry::add_rail(const Port& port) {
  const std::size_t rail = rails_.size();
  rails_.emplace_back();
  for (const auto& registration : registrations_) {
    registration->regions_.emplace_back(nullptr, nullptr);
  }
  replace_rail(rail, port);
  return rail;
}

void Registry::drop_rail(std::size_t rail) {
  for (const auto& registration : registrations_) registration->regions_[rail].reset();
  rails_[rail].gpus.clear();
  rails_[rail].loopback.reset();
  rails_[rail].port = nullptr;
}

void Registry::replace_rail(std::size_t rail, const Port& port) {
  drop_rail(rail);
  rails_[rail].port = &port;
  for (const auto& registration : registrations_) {
    try {
      registration->regions_[rail] = make_known(*registration, rails_[rail]);
    } catch (const Error& error) {
      log(LogLevel::warning, "{}; its messages are copied there", error.what());
    }
  }
}

// Null: staged. Throws Error where the device refuses memory of the host.
Owned<ibv_mr> Registry::make_known(const Registration& registration, Rail& rail) {
  const std::span<std::byte> bytes = registration.bytes_;
  const bool is_unknowable = registration.is_managed_ || registration.is_freed_;
  if (rail.port == nullptr || is_unknowable) return {nullptr, nullptr};
  if (registration.gpu_ != nullptr) {
    const cuda::Device& gpu = registration.gpu_->device;
    GpuDirect& direct = rail.gpus.try_emplace(gpu.ordinal(), *rail.port, *cuda_, gpu).first->second;
    Owned<ibv_mr> region = direct.add(bytes);
    if (region && !can_flush(*registration.gpu_, rail)) region.reset();
    return region;
  }
  Owned<ibv_mr> region = register_pages(*rail.port, bytes);
  if (!region) rail.port->refuse_memory(bytes.size(), errno);
  return region;
}

// What a device writes into a GPU, and nobody can flush, might be seen too late. Where a way is
// forced, throws Error instead.
bool Registry::can_flush(const Gpu& gpu, Rail& rail) const {
  if (gpu.flush != Flush::by_read || rail.loopback != nullptr) return true;
  try {
    rail.loopback = std::make_unique<Loopback>(*rail.port);
    return true;
  } catch (const Error& error) {
    if (settings_.way) throw;
    log(LogLevel::warning, "{}; memory of GPU {} is staged", error.what(), gpu.device.ordinal());
    return false;
  }
}

// --- Adding and dropping -------------------------------------------------------------------------

Gpu& Registry::gpu_of(int ordinal) {
  std::unique_ptr<Gpu>& gpu = gpus_[ordinal];
  if (gpu == nullptr) gpu = std::make_unique<Gpu>(*cuda_, ordinal, settings_);
  return *gpu;
}

std::unique_ptr<Registration> Registry::describe(const Memory& memory) {
  if (memory.kind == MemoryKind::cuda) return describe_cuda(memory);
  auto registration = std::make_unique<Registration>();
  registration->bytes_ = memory.bytes;
  return registration;
}

std::unique_ptr<Registration> Registry::describe_cuda(const Memory& memory) {
  if (!cuda_) {
    const std::string& library = settings_.cuda_library;
    cuda_ = cuda::Api::load(library.empty() ? cuda::Api::library_name() : library);
  }
  const void* const address = memory.bytes.data();
  cuda::Pointer pointer;
  const cuda::Result result = cuda::look_up(*cuda_, address, pointer);
  if (result != cuda::no_error) {
    fail(ErrorKind::system, "verbs: the CUDA driver does not know {}: {}", address,
         cuda_->words(result));
  }
  if (!pointer.is_on_device && !pointer.is_managed) {
    fail(ErrorKind::invalid_argument, "verbs: {} is no memory of a GPU", address);
  }
  if (memory.device >= 0 && memory.device != pointer.device) {
    fail(ErrorKind::invalid_argument, "verbs: {} is memory of GPU {}, not of GPU {}", address,
         pointer.device, memory.device);
  }
  auto registration = std::make_unique<Registration>();
  registration->bytes_ = memory.bytes;
  registration->gpu_ = &gpu_of(pointer.device);
  registration->is_managed_ = pointer.is_managed;
  registration->buffer_ = pointer.buffer;
  if (pointer.is_managed) {
    log(LogLevel::info, "verbs: {} is managed memory, which moves: staging through host memory",
        address);
  }
  return registration;
}

// A GPU's memory that was freed without being dropped, where other memory lies now: the driver
// knows which allocation an address belongs to. Nobody finds it any more.
void Registry::forget_freed(const Registration& added) {
  const std::byte* const begin = added.bytes_.data();
  const std::byte* const end = begin + added.bytes_.size();
  const auto is_freed = [&](const Entry& entry) {
    const bool overlaps = is_before(entry.begin, end) && is_before(begin, entry.end);
    const Registration& other = *entry.registration;
    if (!overlaps || other.gpu_ == nullptr) return false;
    cuda::Pointer now;
    const bool is_known = cuda::look_up(*cuda_, other.bytes_.data(), now) == cuda::no_error;
    entry.registration->is_freed_ = is_known && now.buffer != other.buffer_;
    return entry.registration->is_freed_;
  };
  if (std::erase_if(entries_, is_freed) == 0) return;
  changed();
  log(LogLevel::warning, "verbs: memory of a GPU was freed while it was registered");
}

Registry::Claim Registry::add(const Memory& memory) {
  ACCL_ASSERT(!memory.bytes.empty());
  std::unique_ptr<Registration> added = describe(memory);
  if (added->gpu_ != nullptr) forget_freed(*added);
  const std::byte* const begin = memory.bytes.data();
  const std::byte* const end = begin + memory.bytes.size();
  const Entry* const entry = holder(begin, end);
  if (entry != nullptr && entry->registration->gpu_ == added->gpu_) {
    Registration& shared = *entry->registration;
    claim(begin, end, shared);
    return {*this, shared, memory.bytes};
  }
  added->regions_.reserve(rails_.size());
  for (Rail& rail : rails_) added->regions_.push_back(make_known(*added, rail));
  log(LogLevel::trace, "verbs: registered {}", text_of(*added));
  Registration& registration = *added;
  registrations_.reserve(registrations_.size() + 1);
  claim(begin, end, registration);
  registrations_.push_back(std::move(added));
  on_gpus_ += registration.gpu_ != nullptr;
  return {*this, registration, memory.bytes};
}

// Last of what may throw.
void Registry::claim(const std::byte* begin, const std::byte* end, Registration& registration) {
  const auto is_same = [&](const Entry& entry) {
    return entry.begin == begin && entry.end == end && entry.registration == &registration;
  };
  const auto same = std::ranges::find_if(entries_, is_same);
  if (same == entries_.end()) {
    const auto at = std::ranges::upper_bound(entries_, begin, is_before, &Entry::begin);
    entries_.insert(at, {.begin = begin, .end = end, .registration = &registration, .owners = 1});
    changed();
  } else {
    ++same->owners;
  }
  ++registration.owners_;
}

void Registry::drop(const Claim& claim) {
  Registration& registration = *claim.registration_;
  const std::byte* const begin = claim.bytes_.data();
  const auto found = std::ranges::find_if(entries_, [&](const Entry& entry) {
    return entry.begin == begin && entry.end == begin + claim.bytes_.size() &&
           entry.registration == &registration;
  });
  if (found != entries_.end() && --found->owners == 0) {
    entries_.erase(found);
    changed();
  }
  if (--registration.owners_ > 0) return;
  on_gpus_ -= registration.gpu_ != nullptr;
  std::erase_if(registrations_, [&](const auto& one) { return one.get() == &registration; });
}

Registry::Claim::Claim(Claim&& other) noexcept
    : registry_(std::exchange(other.registry_, nullptr)),
      registration_(other.registration_),
      bytes_(other.bytes_) {}

Registry::Claim::~Claim() {
  if (registry_ != nullptr) registry_->drop(*this);
}

// --- Finding -------------------------------------------------------------------------------------

void Registry::changed() {
  memo_ = {};
  const std::byte* reach = nullptr;
  for (Entry& entry : entries_) {
    reach = std::max(reach, entry.end, is_before);
    entry.reach = reach;
  }
}

// Backwards from the last that begins early enough, as far as any may still hold it.
const Registry::Entry* Registry::holder(const std::byte* begin, const std::byte* end) const {
  auto at = std::ranges::upper_bound(entries_, begin, is_before, &Entry::begin);
  while (at != entries_.begin()) {
    --at;
    if (is_before(at->reach, end)) return nullptr;
    if (!is_before(at->end, end)) return &*at;
  }
  return nullptr;
}

const Registration* Registry::find(std::span<const std::byte> bytes) {
  const std::byte* const begin = bytes.data();
  const std::byte* const end = begin + bytes.size();
  const bool is_known = !is_before(begin, memo_.begin) && !is_before(memo_.end, end);
  if (memo_.registration != nullptr && is_known) return memo_.registration;
  const Entry* const entry = holder(begin, end);
  if (entry == nullptr) return nullptr;
  memo_ = *entry;
  return memo_.registration;
}

cuda::Result Registry::copy_to_host(std::byte* to, std::span<const std::byte> from) {
  const Registration* const known = on_gpus_ == 0 || from.empty() ? nullptr : find(from.first(1));
  if (known != nullptr && known->gpu_ != nullptr) {
    return known->gpu_->device.copy_to_host(to, from.data(), from.size());
  }
  if (!from.empty()) std::memcpy(to, from.data(), from.size());
  return cuda::no_error;
}

// Every device that may have written there pushes what it wrote.
std::string Registry::flush(const Registration& registration) {
  const Gpu* const gpu = registration.gpu_;
  if (gpu == nullptr || gpu->flush == Flush::none) return {};
  if (gpu->flush == Flush::by_driver) {
    const cuda::Result result = gpu->device.flush_writes();
    return result == cuda::no_error ? std::string() : words(result);
  }
  for (std::size_t i = 0; i < rails_.size(); ++i) {
    if (registration.on(i) == nullptr) continue;
    std::string failure =
        rails_[i].loopback->read_back(*registration.on(i), registration.bytes_.data());
    if (!failure.empty()) return failure;
  }
  return {};
}

std::string Registry::words(cuda::Result result) const {
  return cuda_ ? cuda_->words(result) : std::string();
}

}  // namespace accl::verbs
