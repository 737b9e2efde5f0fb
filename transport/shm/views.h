// views.h - looking at memory that a process of this host exports (accl_alloc): the file is opened
// by process and number, mapped read-only, and kept while it is in use.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>

#include "transport/shm/segment.h"
#include "transport/transport.h"

namespace accl {

// A Region for memory that is a Segment's bytes (Memory::file is its memfd); null for any other.
std::unique_ptr<Region> export_memory(const Memory& memory);

// The key by which another process of this host finds a segment, while its file stays open here.
RegionKey key_of(const Segment& segment);

// Empty where the file cannot be opened from here or is not the one the key was made for.
Mapping map_region(const RegionKey& key);

class Views {
 public:
  // Null where the region cannot be mapped (other user, other pid space, gone) or is too short.
  const std::byte* find(const RegionKey& key, std::uint64_t offset, std::uint64_t bytes);

 private:
  struct View {
    RegionKey key;
    Mapping mapping;  // Empty: known not to work.
    std::size_t usable = 0;
  };
  const View& look_up(const RegionKey& key);

  static constexpr std::size_t most = 64;  // Of a peer's freed memory we may keep this many alive.
  std::deque<View> views_;                 // Latest first.
};

}  // namespace accl
