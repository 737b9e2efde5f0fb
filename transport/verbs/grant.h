// grant.h - how a receiver lets a payload land in memory of its own instead of the ring: it writes
// a grant into a mailbox of the sender, who looks there when it puts. No message waits for one.
//
// A grant names one message by the position behind it. Grants of a lane come in the order of their
// messages and are numbered from 1; grant n lies in slot n modulo the slots. The receiver has fewer
// of them out than there are slots, and only for messages that it has not released, so it
// overwrites none that could still be wanted; a sender whose message went before its grant came
// skips it.
//
// A device may write a grant while it is read. It counts only if its check fits all of it, so half
// a grant is none. Positions wrap at 2^32, but no grant lives so long: a sender looks at every put,
// and drops what is behind it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace accl::verbs {

struct Grant {
  std::uint32_t number = 0;
  std::uint32_t until = 0;    // The position behind the message.
  std::uint64_t address = 0;  // Where its payload may be put, under `key`,
  std::uint32_t key = 0;
  std::uint32_t bytes = 0;  // if it is of this size.
  std::uint64_t check = 0;
};
static_assert(sizeof(Grant) == 32, "it travels");

// With the check that fits.
Grant sealed(Grant grant);

constexpr std::uint32_t mailbox_slots = 16;
constexpr std::size_t mailbox_bytes = mailbox_slots * sizeof(Grant);

// The sender's side of a lane. The slots are memory that the peer writes.
class Mailbox {
 public:
  // Begins anew; nobody may write there meanwhile. `slots` has mailbox_bytes.
  void reset(std::byte* slots);

  // Where nothing came there is no place to find.
  bool has_news() const {
    const auto number = static_cast<std::uint32_t>(word(slot(next_), 0));
    return static_cast<std::int32_t>(number - next_) >= 0;
  }
  // The place for the message of so many bytes that ends at `until`, and forgets those of messages
  // before it. The same message may ask again.
  std::optional<Grant> find(std::uint32_t until, std::uint32_t bytes);

 private:
  const std::byte* slot(std::uint32_t number) const {
    return slots_ + number % mailbox_slots * sizeof(Grant);
  }
  // The peer's device writes there: what a sanitizer takes for a race is what the check is for.
  [[gnu::no_sanitize("thread")]] static std::uint64_t word(const std::byte* slot,
                                                           std::size_t number) {
    auto* const at = reinterpret_cast<const volatile std::uint64_t*>(slot) + number;
    return *at;
  }
  static Grant read(const std::byte* slot);

  std::byte* slots_ = nullptr;
  std::uint32_t next_ = 1;  // The first that was not skipped.
};

// The receiver's side of a lane: what it granted, until it is done with the message.
class Granted {
 public:
  // We are done with messages up to here. Called with every message, so that no position that we
  // keep is ever so old that it seems to be ahead.
  void forget(std::uint32_t freed) {
    while (first_ != seen_ && static_cast<std::int32_t>(at(first_).until - freed) <= 0) ++first_;
  }
  // Whether another one may be granted.
  bool has_room() const { return next_ - first_ < mailbox_slots; }
  // Messages are granted in order.
  bool is_in_order(std::uint32_t until) const;
  std::uint32_t next_number() const { return number_ + 1; }
  void add(std::uint32_t until, std::span<std::byte> target);

  // A message came. Gives where its payload lies, if the sender says that it put it where it may
  // and that is so.
  std::optional<std::span<std::byte>> arrive(std::uint32_t until, bool is_placed);
  bool took(std::uint32_t until) const;
  bool is_any_open() const { return seen_ != next_; }

  // No message comes any more to what is granted now; numbers begin anew. What came has come.
  void revoke();

 private:
  struct One {
    std::uint32_t until = 0;
    bool is_open = false, is_taken = false;
    std::span<std::byte> target{};
  };
  One& at(std::uint32_t index) { return all_[index % mailbox_slots]; }
  const One& at(std::uint32_t index) const { return all_[index % mailbox_slots]; }

  std::array<One, mailbox_slots> all_{};
  std::uint32_t first_ = 0, seen_ = 0, next_ = 0;  // They run on. Before `seen_` messages came.
  std::uint32_t number_ = 0;
};

}  // namespace accl::verbs
