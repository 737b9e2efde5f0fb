// cpu_set.h - hwloc's sets of processors and NUMA nodes, as values that free themselves.
#pragma once

#include <hwloc/bitmap.h>

#include <memory>
#include <string>
#include <string_view>

namespace accl::topology {

class CpuSet {
 public:
  CpuSet() : bits_(hwloc_bitmap_alloc(), &hwloc_bitmap_free) {}

  // hwloc's notation, "0x0000ffff,0xffffffff". False where it is none, or has no end.
  bool parse(const std::string& text) {
    return is_well_formed(text) && hwloc_bitmap_sscanf(bits_.get(), text.c_str()) == 0 &&
           (is_empty() || hwloc_bitmap_last(bits_.get()) >= 0);
  }

  bool is_empty() const { return hwloc_bitmap_iszero(bits_.get()) != 0; }
  bool is_only(unsigned index) const {
    return hwloc_bitmap_weight(bits_.get()) == 1 && hwloc_bitmap_isset(bits_.get(), index) != 0;
  }
  bool is_inside(const CpuSet& other) const {
    return hwloc_bitmap_isincluded(bits_.get(), other.bits_.get()) != 0;
  }
  bool meets(const CpuSet& other) const {
    return hwloc_bitmap_intersects(bits_.get(), other.bits_.get()) != 0;
  }
  void add(const CpuSet& other) { hwloc_bitmap_or(bits_.get(), bits_.get(), other.bits_.get()); }

 private:
  // Words of 32 bits between commas; any but the first may be left empty for 0. hwloc asserts it.
  static bool is_well_formed(std::string_view text) {
    for (bool is_first = true;; is_first = false) {
      const std::string_view word = text.substr(0, text.find(','));
      const bool is_word = word.starts_with("0x") && word.size() > 2 && word.size() <= 10 &&
                           word.find_first_not_of("0123456789abcdefABCDEF", 2) == word.npos;
      if (!is_word && (is_first || !word.empty())) return false;
      if (word.size() == text.size()) return true;
      text.remove_prefix(word.size() + 1);
    }
  }

  std::unique_ptr<hwloc_bitmap_s, decltype(&hwloc_bitmap_free)> bits_;
};

}  // namespace accl::topology
