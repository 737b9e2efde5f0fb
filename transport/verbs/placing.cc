// placing.cc - large payloads that do not go through the rings: those that we expect in memory of
// our own, those that the peer granted a place, and what becomes of both when queues are replaced.
#include <algorithm>

#include "accl/base/assert.h"
#include "transport/verbs/channel.h"

namespace accl::verbs {

// --- Receiving -----------------------------------------------------------------------------------

std::byte* Channel::mailbox(std::uint32_t lane) const {
  const std::size_t rings = 2 * std::size_t{geometry_.lanes} * geometry_.ring_bytes;
  return memory_.bytes().data() + rings + 2 * lane * mailbox_bytes;
}

// For new queues: none that could still write into the mailbox is left.
void Channel::begin_grants(std::uint32_t lane) {
  lanes_[lane].mailbox.reset(mailbox(lane));
  lanes_[lane].granted.revoke();
}

// The grant goes at once: where it comes too late nothing is lost but its write.
bool Channel::expect(std::uint32_t lane, std::uint32_t until, std::span<std::byte> target) {
  ACCL_ASSERT(lane < lanes_.size(), lane);
  Lane& from = lanes_[lane];
  if (!is_open() || target.size() < least_lent_bytes || target.size() > geometry_.ring_bytes) {
    return false;
  }
  const std::uint32_t arrived = from.arrived.load(std::memory_order_relaxed);
  if (static_cast<std::int32_t>(until - arrived) <= 0) return false;
  from.granted.forget(from.freed);
  if (!from.granted.has_room() || !from.granted.is_in_order(until)) return false;
  const ibv_mr* const memory = device_memory(from, target);
  if (memory == nullptr || !from.queue->has_room(1)) return false;
  const Grant grant = sealed({.number = from.granted.next_number(),
                              .until = until,
                              .address = reinterpret_cast<std::uint64_t>(target.data()),
                              .key = memory->rkey,
                              .bytes = static_cast<std::uint32_t>(target.size())});
  if (!post_grant(lane, grant)) return false;
  from.granted.add(until, target);
  return true;
}

// Without an answer: one for a later request is one for this, too.
bool Channel::post_grant(std::uint32_t number, const Grant& grant) {
  Lane& lane = lanes_[number];
  const std::size_t slot = grant.number % mailbox_slots * sizeof grant;
  std::byte* const copy = copy_of_mailbox(number) + slot;
  std::memcpy(copy, &grant, sizeof grant);
  ibv_sge from = own_bytes(lane, copy, sizeof grant);
  const Queue::Write write{.to = lane.peer_mailbox + slot,
                           .key = lane.peer_key,
                           .from = {&from, 1},
                           .is_inline = sizeof grant <= lane.queue->longest_inline()};
  const int error = lane.queue->post({&write, 1});
  note_post(number, error);
  return error == 0;
}

bool Channel::took(std::uint32_t lane, std::uint32_t until) const {
  ACCL_ASSERT(lane < lanes_.size(), lane);
  return lanes_[lane].granted.took(until);
}

// The peer may have found a grant already, so only the end of the queues ends it.
void Channel::withdraw() {
  const auto is_open = [](const Lane& lane) { return lane.granted.is_any_open(); };
  if (std::ranges::none_of(lanes_, is_open)) return;
  begin_end("this rank gave up a call in which payloads were to come");
  for (Lane& lane : lanes_) lane.queue.reset();
}

// Of a message that came, before anybody is told. False: the channel ends.
bool Channel::take_payload(Lane& lane, std::uint32_t until, bool is_placed) {
  lane.granted.forget(lane.freed);
  const std::optional<std::span<std::byte>> target = lane.granted.arrive(until, is_placed);
  if (!is_placed) return true;
  if (!target) {
    begin_end("it put a payload where it was granted no place");
    return false;
  }
  const Registration* const known = registry_->find(*target);
  if (known == nullptr || known->gpu() == nullptr) return true;
  const std::string wrong = registry_->flush(*known);
  if (!wrong.empty()) begin_end(fmt::format("memory of a GPU cannot be flushed: {}", wrong));
  return wrong.empty();
}

// --- Sending -------------------------------------------------------------------------------------

void Channel::find_place(Lane& lane, const Parcel& parcel, Sent& message) {
  const std::optional<Grant> grant = lane.mailbox.find(parcel.until, parcel.head.bytes);
  if (!grant || grant->bytes < least_lent_bytes) return;
  message.is_placed = true;
  message.key = grant->key;
  message.place = grant->address;
}

// From now on it is as if it had been copied to the ring at once. Where that fails the channel
// ends.
void Channel::take_home(std::uint32_t lane, Sent& message) {
  message.is_placed = false;
  if (message.lent.empty()) return;
  if (copy(outbox(lane) + message.offset + message.bytes, message.lent)) {
    message.bytes += static_cast<std::uint32_t>(message.lent.size());
  }
  message.lent = {};
}

}  // namespace accl::verbs
