#include "tests/transport/member.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace accl::test {
namespace {

constexpr std::uint32_t most_untold = 100;  // Messages; below any transport's window.

std::uint32_t mix(std::uint32_t from, std::uint32_t to, std::uint32_t lane, std::uint32_t number) {
  std::uint64_t value = (std::uint64_t{from} << 48) ^ (std::uint64_t{to} << 40) ^
                        (std::uint64_t{lane} << 32) ^ number;
  value = (value ^ (value >> 29)) * 0xBF58476D1CE4E5B9;
  value = (value ^ (value >> 32)) * 0x94D049BB133111EB;
  return static_cast<std::uint32_t>(value >> 32);
}

// Small sizes come as often as large ones.
std::uint32_t size_of(const Script& script, std::uint32_t tag, std::uint32_t number) {
  if (!script.sizes.empty()) return script.sizes[number % script.sizes.size()];
  const std::uint32_t most = script.largest_bytes >> (tag % 16);
  return most == 0 ? 0 : tag / 16 % (most + 1);
}

std::byte byte_at(std::uint32_t tag, std::size_t at) {
  return static_cast<std::byte>((tag ^ (at * 0x9E3779B1)) >> (at % 3 * 8));
}

std::vector<std::byte> make_payload(std::uint32_t tag, std::uint32_t bytes) {
  std::vector<std::byte> payload(bytes);
  for (std::size_t at = 0; at < bytes; ++at) payload[at] = byte_at(tag, at);
  return payload;
}

bool is_payload(const std::byte* data, std::uint32_t tag, std::uint32_t bytes) {
  for (std::size_t at = 0; at < bytes; ++at) {
    if (data[at] != byte_at(tag, at)) return false;
  }
  return true;
}

}  // namespace

Link::Link(std::unique_ptr<Endpoint> endpoint, const Geometry& geometry, std::uint32_t me,
           std::uint32_t peer)
    : geometry_(geometry),
      me_(me),
      peer_(peer),
      lanes_(geometry.lanes, LaneBook(geometry.ring_bytes)),
      endpoint_(std::move(endpoint)),
      random_(me * 1000 + peer) {
  for (LaneBook& book : lanes_) book.target.resize(geometry.ring_bytes);
}

void Link::know_targets(Transport& transport) {
  if (endpoint_->outbox(0) != nullptr) return;
  for (LaneBook& book : lanes_) regions_.push_back(transport.add({.bytes = book.target}));
}

bool Link::step(const Script& script) {
  bool moved = false;
  for (std::uint32_t lane = 0; lane < lanes_.size(); ++lane) {
    drop_sent(lane);
    moved = send_next(lane, script) || moved;
    moved = receive_next(lane, script) || moved;
  }
  return moved;
}

bool Link::done(const Script& script) const {
  for (std::uint32_t lane = 0; lane < lanes_.size(); ++lane) {
    const LaneBook& book = lanes_[lane];
    const LaneCounters counters = endpoint_->counters(lane);
    if (book.out.number < script.messages || book.in.number < script.messages) return false;
    if (!reached(counters.released, book.out.ring.position()) || !book.unsent.empty()) return false;
  }
  return true;
}

bool Link::send_next(std::uint32_t lane, const Script& script) {
  Direction& out = lanes_[lane].out;
  if (out.number == script.messages) return false;
  const std::uint32_t seen = lanes_[lane].in.number + (me_ < peer_ ? 1 : 0);
  if (script.alternates && out.number >= seen) return false;

  const std::uint32_t tag = mix(me_, peer_, lane, out.number);
  const std::uint32_t bytes = size_of(script, tag, out.number);
  const Place place = out.ring.next(bytes);
  const std::uint32_t released =
      endpoint_->counters(lane).released->load(std::memory_order_acquire);
  EXPECT_GE(static_cast<std::int32_t>(released - out.last_counter), 0) << "released went back";
  EXPECT_GE(static_cast<std::int32_t>(out.ring.position() - released), 0) << "released too much";
  out.last_counter = released;
  if (place.until - released > out.ring.units()) return false;

  std::vector<std::byte> payload = make_payload(tag, bytes);
  const Head head{.tag = tag, .bytes = bytes, .flags = ~tag};
  Parcel parcel{.head = head, .offset = place.offset, .until = place.until, .pieces = {}};
  if (endpoint_->tells_along()) parcel.freed = lanes_[lane].in.ring.position();
  if (!put(lane, parcel, payload)) return false;
  if (parcel.freed) note_told(lane);
  out.ring.take(bytes);
  ++out.number;
  return true;
}

// Pull: writes the message to its place. Push: hands it over in up to five pieces of random sizes.
bool Link::put(std::uint32_t lane, const Parcel& parcel, std::vector<std::byte>& payload) {
  if (std::byte* const outbox = endpoint_->outbox(lane); outbox != nullptr) {
    std::byte* const message = outbox + parcel.offset;
    std::memcpy(message, &parcel.head, sizeof parcel.head);
    if (!payload.empty()) {
      std::memcpy(message + payload_offset(parcel.head.bytes), payload.data(), payload.size());
    }
    const AllocationCheck check;
    return endpoint_->put(lane, parcel);
  }
  std::vector<std::span<const std::byte>> pieces;
  std::span<const std::byte> rest(payload);
  while (pieces.size() < 4 && !rest.empty() && random_() % 3 != 0) {
    pieces.push_back(rest.first(random_() % (rest.size() + 1)));
    rest = rest.subspan(pieces.back().size());
  }
  if (!rest.empty()) pieces.push_back(rest);
  Parcel with_pieces = parcel;
  with_pieces.pieces = pieces;
  lanes_[lane].unsent.push_back({parcel.until, std::move(payload)});
  {
    const AllocationCheck check;
    if (endpoint_->put(lane, with_pieces)) return true;
  }
  lanes_[lane].unsent.pop_back();
  return false;
}

// What is sent may change: it does, at once, so that a transport that lied sends wrong bytes.
void Link::drop_sent(std::uint32_t lane) {
  std::deque<Payload>& unsent = lanes_[lane].unsent;
  while (!unsent.empty() && reached(endpoint_->counters(lane).sent, unsent.front().until)) {
    std::ranges::fill(unsent.front().bytes, std::byte{0xEE});
    unsent.pop_front();
  }
}

bool Link::receive_next(std::uint32_t lane, const Script& script) {
  LaneBook& book = lanes_[lane];
  Direction& in = book.in;
  const std::uint32_t arrived = endpoint_->counters(lane).arrived->load(std::memory_order_acquire);
  EXPECT_GE(static_cast<std::int32_t>(arrived - in.last_counter), 0) << "arrived went back";
  EXPECT_LE(arrived - in.ring.position(), in.ring.units()) << "arrived too much";
  in.last_counter = arrived;
  if (in.number == script.messages) return false;

  const std::uint32_t bytes = size_of(script, mix(peer_, me_, lane, in.number), in.number);
  const Place place = in.ring.next(bytes);
  if (static_cast<std::int32_t>(arrived - place.until) < 0) {
    ask_for_next(lane, bytes);
    return false;
  }
  check_message(lane, script, place, bytes);
  book.asked = book.promised = false;
  in.ring.take(bytes);
  ++in.number;
  release(lane, script);
  return true;
}

// A little may wait for the next message that goes there, if there is one.
void Link::release(std::uint32_t lane, const Script& script) {
  LaneBook& book = lanes_[lane];
  const bool goes_along = endpoint_->tells_along() && book.out.number < script.messages &&
                          book.in.ring.position() - book.told < book.in.ring.units() / 16 &&
                          ++book.untold < most_untold;
  if (goes_along) return;
  note_told(lane);
  const AllocationCheck check;
  endpoint_->release(lane, book.told);
}

void Link::note_told(std::uint32_t lane) {
  lanes_[lane].told = lanes_[lane].in.ring.position();
  lanes_[lane].untold = 0;
}

// Every other message that has a payload is asked for, once.
void Link::ask_for_next(std::uint32_t lane, std::uint32_t bytes) {
  LaneBook& book = lanes_[lane];
  if (book.asked || bytes == 0 || book.in.number % 2 == 0) return;
  book.asked = true;
  const std::span<std::byte> target = std::span(book.target).first(bytes);
  std::ranges::fill(target, std::byte{0xDD});
  const AllocationCheck check;
  book.promised = endpoint_->expect(lane, book.in.ring.next(bytes).until, target);
}

void Link::check_message(std::uint32_t lane, const Script& script, const Place& place,
                         std::uint32_t bytes) {
  LaneBook& book = lanes_[lane];
  const std::uint32_t tag = mix(peer_, me_, lane, book.in.number);
  const std::byte* const message = endpoint_->inbox(lane) + place.offset;
  Head head;
  std::memcpy(&head, message, sizeof head);
  EXPECT_EQ(head.tag, tag) << "message " << book.in.number << " of " << script.messages;
  EXPECT_EQ(head.bytes, bytes);
  EXPECT_EQ(head.flags, ~tag);
  const bool took = book.promised && endpoint_->took(lane, place.until);
  const std::byte* const payload = took ? book.target.data() : message + payload_offset(bytes);
  EXPECT_TRUE(is_payload(payload, tag, bytes))
      << "message " << book.in.number << ", " << bytes << " bytes, took " << took;
}

Member::Member(std::unique_ptr<Transport> transport, const Geometry& geometry, std::uint32_t me,
               Meetings meetings)
    : transport_(std::move(transport)) {
  for (auto& [peer, meeting] : meetings) {
    links_.emplace_back(transport_->open(Rank(peer), std::move(meeting)), geometry, me, peer);
  }
  for (Link& link : links_) link.endpoint().finish(Deadline(patience));
  for (Link& link : links_) link.know_targets(*transport_);
}

bool Member::step(const Script& script) {
  bool moved = false;
  for (Link& link : links_) moved = link.step(script) || moved;
  return moved;
}

bool Member::done(const Script& script) const {
  return std::ranges::all_of(links_, [&](const Link& link) { return link.done(script); });
}

std::uint64_t Link::told() const {
  std::uint64_t sum = 0;
  for (std::uint32_t lane = 0; lane < geometry_.lanes; ++lane) {
    const LaneCounters counters = endpoint_->counters(lane);
    for (const auto* counter : {counters.arrived, counters.released, counters.sent}) {
      if (counter != nullptr) sum += counter->load(std::memory_order_acquire);
    }
  }
  return sum;
}

std::uint64_t Member::told() const {
  std::uint64_t sum = 0;
  for (const Link& link : links_) sum += link.told();
  return sum;
}

// A peer that has all it wants may leave; saying so in words may allocate.
bool Member::poll() {
  const std::uint64_t before = told();
  AllocationCheck check;
  const bool has_news = transport_->poll();
  if (std::ranges::any_of(links_, [](Link& link) { return link.endpoint().broken(); })) {
    check.forgive();
  }
  EXPECT_TRUE(has_news || told() == before) << "poll() says that nothing came";
  return has_news;
}

void Member::play(const Script& script, Idle idle) {
  const Deadline deadline(patience);
  bool has_news = true;
  while (!done(script)) {
    const bool moved = has_news && step(script);
    has_news = poll() || moved;
    if (moved || done(script)) continue;
    for (Link& link : links_) {
      ASSERT_TRUE(link.done(script) || !link.endpoint().broken()) << link.endpoint().failure();
    }
    ASSERT_FALSE(deadline.passed()) << "the exchange hangs";
    idle == Idle::sleep ? sleep(script) : static_cast<void>(::sched_yield());
    has_news = has_news || idle == Idle::sleep;
    if (testing::Test::HasFailure()) return;
  }
  transport_->poll();  // The last releases go out.
}

// Looks once more after arm(), as a caller must, and then sleeps until the transport wakes us.
void Member::sleep(const Script& script) {
  bool armed = false;
  {
    const AllocationCheck check;
    armed = transport_->arm();
  }
  if (armed && !step(script) && !done(script)) {
    pollfd event{transport_->event_fd(), POLLIN, 0};
    EXPECT_EQ(::poll(&event, 1, static_cast<int>(patience.count())), 1) << "a lost wake-up";
  }
  transport_->disarm();
}

}  // namespace accl::test
