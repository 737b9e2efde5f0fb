// alone.h - a channel of the verbs transport that has joined a peer of this process over the fake
// libibverbs, and whose device then answers everything itself.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "tests/transport/ring.h"
#include "tests/transport/world.h"
#include "tests/verbs/null_device.h"
#include "transport/verbs/channel.h"

namespace accl::test {

class AloneChannel {
 public:
  static constexpr Geometry geometry = NullDevice::geometry;

  explicit AloneChannel(const std::string& library, const verbs::Settings& settings = {})
      : api_(verbs::Api::load(library)) {
    auto [here, there] = connected_pair();
    for (auto& rails : rails_) {
      rails =
          std::make_unique<verbs::Rails>(api_, settings, verbs::RailChoice{}, [](verbs::Rail&) {});
    }
    NullDevice::listen(*(*rails_[0])[0].port().context());
    registry_.add_rail((*rails_[0])[0].port());
    channels_[0] = std::make_unique<verbs::Channel>(*rails_[0], geometry, Rank{1}, std::move(here),
                                                    &registry_);
    channels_[1] =
        std::make_unique<verbs::Channel>(*rails_[1], geometry, Rank{0}, std::move(there));
    while (!channels_[0]->is_joined() || !channels_[1]->is_joined()) {
      for (auto& channel : channels_) channel->step_join();
      if (channels_[0]->refusal()) throw Error(*channels_[0]->refusal());
    }
    NullDevice::take_over(*(*rails_[0])[0].port().context(), api_);
  }

  verbs::Channel& channel() { return *channels_[0]; }
  // The device knows it from then on, until the claim ends.
  verbs::Registry::Claim know(std::span<std::byte> memory) {
    return registry_.add({.bytes = memory});
  }

  // Puts one message of so many bytes on a lane; polls where the queue is full.
  void put(std::uint32_t lane, std::span<const std::byte> payload) {
    const auto bytes = static_cast<std::uint32_t>(payload.size());
    const Place place = sent_[lane].next(bytes);
    const Parcel parcel{.head = {.tag = 1, .bytes = bytes},
                        .offset = place.offset,
                        .until = place.until,
                        .pieces = {&payload, 1}};
    while (!channel().put(lane, parcel)) channel().poll();
    sent_[lane].take(bytes);
  }

  // Receives one message on a lane: in `target` if it is expected there, else it is copied there.
  // Gives whether it was expected.
  bool receive(std::uint32_t lane, std::span<std::byte> target, bool is_expected) {
    const auto bytes = static_cast<std::uint32_t>(target.size());
    const Place place = received_[lane].next(bytes);
    const bool is_placed = is_expected && channel().expect(lane, place.until, target);
    NullDevice::deliver(lane, place.until, is_placed);
    while (channel().counters(lane).arrived->load() != place.until) channel().poll();
    if (!channel().took(lane, place.until)) {
      const std::byte* const message = channel().inbox(lane) + place.offset;
      std::memcpy(target.data(), message + payload_offset(bytes), bytes);
    }
    channel().release(lane, place.until);
    received_[lane].take(bytes);
    return is_placed;
  }

 private:
  const verbs::Api api_;
  std::array<std::unique_ptr<verbs::Rails>, 2> rails_;
  verbs::Registry registry_{verbs::GpuSettings{}};
  std::array<std::unique_ptr<verbs::Channel>, 2> channels_;
  std::vector<Ring> sent_{geometry.lanes, Ring(geometry.ring_bytes)};
  std::vector<Ring> received_ = sent_;
};

}  // namespace accl::test
