// over_fake.h - tests of the verbs transport over the fake libibverbs: pairs of ranks in one
// thread.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "accl/base/error.h"
#include "tests/transport/ring.h"
#include "tests/transport/world.h"
#include "tests/verbs/fake_library.h"
#include "transport/verbs/verbs.h"

namespace accl::test {

constexpr Geometry geometry{.lanes = 2, .ring_bytes = 64 << 10};

using Environment = std::map<std::string, std::string>;

inline verbs::Settings settings_of(const Environment& environment) {
  return verbs::read_settings([&](const char* name) {
    const auto found = environment.find(name);
    return found == environment.end() ? nullptr : found->second.c_str();
  });
}

// A queue that breaks ends its connection.
inline const Environment no_failover{{"ACCL_IB_RESILIENCY_PORT_FAILOVER", "0"}};

class VerbsFake : public testing::Test {
 protected:
  static std::string library() { return FakeVerbs::library(); }

  void TearDown() override {
    EXPECT_STREQ(fake_.violation(), "");
    EXPECT_EQ(fake_.living(), 0U) << "objects of libibverbs that nobody ended";
  }

  static std::unique_ptr<Transport> make(const Environment& environment = {}, bool uses_all = false,
                                         std::uint32_t turn = 0) {
    return make_verbs_transport(geometry, {.shared_object = library(),
                                           .settings = settings_of(environment),
                                           .turn = turn,
                                           .uses_all = uses_all});
  }

  // In one thread, so that whatever either throws comes out here.
  static std::pair<Joined, Joined> join(std::unique_ptr<Transport> first,
                                        std::unique_ptr<Transport> second) {
    std::pair<Joined, Joined> joined = open_pair(std::move(first), std::move(second));
    bool is_here = false, is_there = false;
    for (const Deadline deadline(patience); !(is_here && is_there) && !deadline.passed();) {
      is_here = is_here || finishes(*joined.first.endpoint);
      is_there = is_there || finishes(*joined.second.endpoint);
    }
    EXPECT_TRUE(is_here && is_there);
    return joined;
  }

  static bool finishes(Endpoint& endpoint) {
    try {
      endpoint.finish(Deadline(Milliseconds(0)));
      return true;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::timeout) throw;
      return false;
    }
  }

  // Both poll, and look at their devices and sockets as those do who slept.
  static void step(const Joined& here, const Joined& there) {
    for (const Joined* one : {&here, &there}) {
      one->transport->poll();
      static_cast<void>(one->transport->arm());
      one->transport->disarm();
    }
  }

  // Messages, sleeps and releases, until all is done or a connection broke, whose words these are.
  static std::string carry(const Joined& here, const Joined& there) {
    Ring ring(geometry.ring_bytes);
    static_cast<void>(fill(*here.endpoint, ring, 3000));
    step(here, there);
    // Longer than an end of which nobody hears, behind a late question for an answer.
    const Deadline longest_end(Milliseconds(450));
    bool is_done = false;
    const auto words = [&] { return here.endpoint->failure() + there.endpoint->failure(); };
    while (words().empty() && !(is_done && longest_end.passed())) {
      here.transport->poll();
      there.transport->poll();
      there.endpoint->release(0, there.endpoint->counters(0).arrived->load());
      is_done = reached(here.endpoint->counters(0).released, ring.position());
    }
    return words();
  }

  static void poll_until_arrived(const Joined& one, std::uint32_t position) {
    for (const Deadline deadline(patience); !deadline.passed();) {
      one.transport->poll();
      if (reached(one.endpoint->counters(0).arrived, position)) return;
    }
    ADD_FAILURE() << "not all arrived";
  }

  // Puts, until it is refused, messages of so many bytes; gives how many.
  static std::uint32_t fill(Endpoint& endpoint, Ring& ring, std::uint32_t bytes) {
    const std::vector<std::byte> payload(bytes, std::byte{1});
    const std::span<const std::byte> piece(payload);
    std::uint32_t count = 0;
    for (;; ++count) {
      const Place place = ring.next(bytes);
      if (place.until > ring.units()) return count;
      const Parcel parcel{.head = {.tag = count, .bytes = bytes},
                          .offset = place.offset,
                          .until = place.until,
                          .pieces = {&piece, 1}};
      if (!endpoint.put(0, parcel)) return count;
      ring.take(bytes);
    }
  }

  FakeVerbs fake_;
};

}  // namespace accl::test
