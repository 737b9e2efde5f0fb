#include "transport/verbs/grant.h"

#include <atomic>
#include <bit>
#include <cstring>

#include "accl/base/mix.h"

namespace accl::verbs {
namespace {

using Words = std::array<std::uint64_t, sizeof(Grant) / sizeof(std::uint64_t)>;

bool is_ahead(std::uint32_t position, std::uint32_t of) {
  return static_cast<std::int32_t>(position - of) > 0;
}

// Not 0 for zeros. Each word goes through all that follow, so that words of two grants do not fit.
std::uint64_t check_of(const Grant& grant) {
  const auto words = std::bit_cast<Words>(grant);
  std::uint64_t check = 0x4143'434C'6772'6E74;  // "ACCLgrnt"
  for (std::size_t i = 0; i + 1 < words.size(); ++i) check = mix(check ^ words[i]) + words[i];
  return check;
}

}  // namespace

Grant sealed(Grant grant) {
  grant.check = check_of(grant);
  return grant;
}

void Mailbox::reset(std::byte* slots) {
  slots_ = slots;
  next_ = 1;
  std::memset(slots_, 0, mailbox_bytes);
}

Grant Mailbox::read(const std::byte* slot) {
  Words words;
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = word(slot, i);
  return std::bit_cast<Grant>(words);
}

std::optional<Grant> Mailbox::find(std::uint32_t until, std::uint32_t bytes) {
  for (std::uint32_t tries = 0; tries < 2 * mailbox_slots; ++tries) {
    const Grant grant = read(slot(next_));
    if (grant.check != check_of(grant) || is_ahead(next_, grant.number)) return std::nullopt;
    if (grant.number != next_) {
      next_ = grant.number - (mailbox_slots - 1);  // Those before are overwritten.
      continue;
    }
    if (grant.until == until && grant.bytes == bytes) return grant;
    if (is_ahead(grant.until, until)) return std::nullopt;
    ++next_;
  }
  return std::nullopt;
}

bool Granted::is_in_order(std::uint32_t until) const {
  return next_ == first_ || is_ahead(until, at(next_ - 1).until);
}

void Granted::add(std::uint32_t until, std::span<std::byte> target) {
  at(next_++) = {.until = until, .is_open = true, .target = target};
  ++number_;
}

std::optional<std::span<std::byte>> Granted::arrive(std::uint32_t until, bool is_placed) {
  std::optional<std::span<std::byte>> target;
  for (; seen_ != next_ && !is_ahead(at(seen_).until, until); ++seen_) {
    One& one = at(seen_);
    one.is_taken = is_placed && one.is_open && one.until == until;
    if (one.is_taken) target = one.target;
  }
  return target;
}

bool Granted::took(std::uint32_t until) const {
  for (std::uint32_t i = first_; i != seen_; ++i) {
    if (at(i).until == until) return at(i).is_taken;
  }
  return false;
}

void Granted::revoke() {
  for (std::uint32_t i = seen_; i != next_; ++i) at(i).is_open = false;
  number_ = 0;
}

}  // namespace accl::verbs
