#include "transport/shm/views.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "accl/base/error.h"

namespace accl {
namespace {

// words: process, descriptor there, bytes of the file, cookie in its last page.
class Exported final : public Region {
 public:
  explicit Exported(const RegionKey& key) : key_(key) {}
  RegionKey key() const override { return key_; }

 private:
  RegionKey key_;
};

}  // namespace

Mapping map_region(const RegionKey& key) {
  const auto& [process, descriptor, bytes, cookie] = key.words;
  const Fd file(
      ::open(fmt::format("/proc/{}/fd/{}", process, descriptor).c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info {};
  if (!file || ::fstat(file.get(), &info) != 0) return {};
  if (bytes < Segment::page_bytes || static_cast<std::uint64_t>(info.st_size) != bytes) return {};
  Mapping mapping(file.get(), bytes, false, "a peer's memory");
  std::uint64_t found = 0;
  std::memcpy(&found, mapping.data() + bytes - Segment::page_bytes, sizeof found);
  return found == cookie ? std::move(mapping) : Mapping();
}

RegionKey key_of(const Segment& segment) {
  return {{static_cast<std::uint64_t>(::getpid()), static_cast<std::uint64_t>(segment.file.get()),
           segment.mapping.size(), segment.cookie}};
}

std::unique_ptr<Region> export_memory(const Memory& memory) {
  struct stat info {};
  if (memory.kind != MemoryKind::host || memory.file < 0) return nullptr;
  if (::fstat(memory.file, &info) != 0) return nullptr;
  const auto bytes = static_cast<std::uint64_t>(info.st_size);
  if (bytes < memory.bytes.size() + Segment::page_bytes) return nullptr;
  std::uint64_t cookie = 0;
  const auto at = static_cast<off_t>(bytes - Segment::page_bytes);
  if (::pread(memory.file, &cookie, sizeof cookie, at) != sizeof cookie) return nullptr;
  const RegionKey key{{static_cast<std::uint64_t>(::getpid()),
                       static_cast<std::uint64_t>(memory.file), bytes, cookie}};
  return std::make_unique<Exported>(key);
}

const Views::View& Views::look_up(const RegionKey& key) {
  if (!views_.empty() && views_.front().key.words == key.words) return views_.front();
  const auto known =
      std::ranges::find(views_, key.words, [](const View& view) { return view.key.words; });
  View found{key, {}, 0};
  if (known != views_.end()) {
    found = std::move(*known);
    views_.erase(known);
  } else {
    found.mapping = map_region(key);
    if (found.mapping.data() != nullptr) {
      found.usable = found.mapping.size() - Segment::page_bytes;
    }
  }
  views_.push_front(std::move(found));
  if (views_.size() > most) views_.pop_back();
  return views_.front();
}

const std::byte* Views::find(const RegionKey& key, std::uint64_t offset, std::uint64_t bytes) {
  const View& view = look_up(key);
  if (offset > view.usable || bytes > view.usable - offset) return nullptr;
  return view.mapping.data() + offset;
}

}  // namespace accl
