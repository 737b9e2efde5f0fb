#include "topology/contention/pace.h"

#include <algorithm>
#include <queue>

#include "accl/base/assert.h"
#include "topology/contention/sharing.h"

namespace accl::topology {
namespace {

// Of a list that is sorted by `member`. (equal_range would do, but for clang 14.)
template <class Item, class Key>
std::span<const Item> those_with(const std::vector<Item>& list, const Key& key, Key Item::*member) {
  const auto begin = std::ranges::lower_bound(list, key, {}, member);
  return {begin, std::ranges::upper_bound(list, key, {}, member)};
}

constexpr double rounding = 1e-9;  // Relative: what happens so close happens together.

class Pace {
 public:
  Pace(const Fabric& fabric, const Traffic& traffic, std::span<const RoutedRound> rounds,
       double bytes_per_chunk, const Slicing& slicing, bool switches_are_free);

  double run();

 private:
  // A round in which a position takes part.
  struct Part {
    std::uint32_t round = 0;    // With repeats.
    std::uint32_t waiting = 0;  // Of its messages: that have not arrived.
  };
  struct Walker {             // A position in a slice.
    std::vector<Part> parts;  // In order.
    std::size_t at = 0;
    bool is_begun = false;  // What arrives before that is kept.
  };
  struct Transit {  // A message of a slice.
    Position from{};
    Position to{};
    std::uint32_t round = 0;
    std::uint32_t slice = 0;
    std::size_t flows = 0;  // That have not arrived.
  };
  struct Flight {  // A flow.
    std::uint32_t transit = 0;
    std::span<const LinkId> path;
    Turn turn{};
    double left = 0;            // Bytes, when it last got a rate.
    double since = 0;           // When that was.
    std::uint32_t version = 0;  // Of its rate: ends that were foretold before are void.
  };
  enum class What : std::uint8_t { start, end, arrive };
  struct Event {
    double when = 0;
    std::uint64_t number = 0;  // So that equal times have an order.
    What what{};
    std::uint32_t id = 0;  // Of a flight; arrive: of a transit.
    std::uint32_t version = 0;

    bool operator>(const Event& other) const {
      return when != other.when ? when > other.when : number > other.number;
    }
  };

  void expect(std::uint32_t round, Position position, bool awaits);
  Walker& walker(Position position, std::uint32_t slice) {
    return walkers_[slice * traffic_.positions + index(position)];
  }
  void begin(Position position, std::uint32_t slice);
  void enter(Position position, std::uint32_t slice, std::uint32_t round);
  void send(const Message& message, std::span<const Routed> flows, std::uint32_t slice,
            std::uint32_t round);
  void advance(Position position, std::uint32_t slice);
  void arrive(Position position, const Transit& transit);
  void plan(double when, What what, std::uint32_t id, std::uint32_t version = 0) {
    events_.push({when, planned_++, what, id, version});
  }
  void handle(const Event& event);
  void share();

  const Fabric& fabric_;
  const Traffic& traffic_;
  const std::span<const RoutedRound> rounds_;
  const double bytes_per_chunk_;  // Of a slice.
  const Slicing slicing_;
  std::vector<std::uint32_t> stage_of_;  // By round with repeats: in rounds_.
  std::vector<Walker> walkers_;          // By slice, then by position.
  std::uint64_t entered_ = 0;            // Rounds, by all positions.
  std::vector<Transit> transits_;
  std::vector<Flight> flights_;
  Sharing sharing_;
  std::vector<std::uint32_t> changed_;  // Flights that came or went since rates were shared.
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::uint64_t planned_ = 0;
  double now_ = 0;
  double last_arrival_ = 0;  // Later events may be void.
};

Pace::Pace(const Fabric& fabric, const Traffic& traffic, std::span<const RoutedRound> rounds,
           double bytes_per_chunk, const Slicing& slicing, bool switches_are_free)
    : fabric_(fabric),
      traffic_(traffic),
      rounds_(rounds),
      bytes_per_chunk_(bytes_per_chunk / slicing.slices),
      slicing_(slicing),
      walkers_(traffic.positions),
      sharing_(fabric, switches_are_free) {
  ACCL_ASSERT(rounds.size() == traffic.rounds.size(), rounds.size(), traffic.rounds.size());
  for (std::uint32_t stage = 0; stage < rounds.size(); ++stage) {
    stage_of_.insert(stage_of_.end(), traffic.rounds[stage].repeats, stage);
  }
  for (std::uint32_t round = 0; round < stage_of_.size(); ++round) {
    for (const Message& message : traffic.rounds[stage_of_[round]].messages) {
      expect(round, message.from, slicing.awaits_sends);
      expect(round, message.to, true);
    }
  }
  const std::vector<Walker> one = walkers_;
  for (std::uint32_t slice = 1; slice < slicing.slices; ++slice) {
    walkers_.insert(walkers_.end(), one.begin(), one.end());
  }
}

void Pace::expect(std::uint32_t round, Position position, bool awaits) {
  std::vector<Part>& parts = walkers_[index(position)].parts;
  if (parts.empty() || parts.back().round != round) parts.push_back({.round = round, .waiting = 0});
  if (awaits) ++parts.back().waiting;
}

void Pace::begin(Position position, std::uint32_t slice) {
  Walker& one = walker(position, slice);
  if (one.parts.empty()) return;
  one.is_begun = true;
  enter(position, slice, one.parts.front().round);
  advance(position, slice);
}

void Pace::enter(Position position, std::uint32_t slice, std::uint32_t round) {
  ++entered_;
  const std::vector<Message>& messages = traffic_.rounds[stage_of_[round]].messages;
  const std::vector<Routed>& flows = rounds_[stage_of_[round]].flows;
  for (const Message& message : those_with(messages, position, &Message::from)) {
    const auto number = static_cast<std::uint32_t>(&message - messages.data());
    send(message, those_with(flows, number, &Routed::message), slice, round);
  }
}

void Pace::send(const Message& message, std::span<const Routed> flows, std::uint32_t slice,
                std::uint32_t round) {
  const auto transit = static_cast<std::uint32_t>(transits_.size());
  const std::size_t count = std::max<std::size_t>(1, flows.size());
  transits_.push_back({message.from, message.to, round, slice, count});
  if (flows.empty()) plan(now_, What::arrive, transit);  // It crosses no cable.
  for (const Routed& flow : flows) {
    plan(now_ + fabric_.start_seconds, What::start, static_cast<std::uint32_t>(flights_.size()));
    flights_.push_back({.transit = transit,
                        .path = rounds_[stage_of_[round]].path(flow),
                        .turn = {index(message.from), entered_},
                        .left = flow.chunks * bytes_per_chunk_});
  }
}

void Pace::advance(Position position, std::uint32_t slice) {
  Walker& one = walker(position, slice);
  if (!one.is_begun) return;
  while (one.at < one.parts.size() && one.parts[one.at].waiting == 0) {
    if (++one.at < one.parts.size()) {
      enter(position, slice, one.parts[one.at].round);
    } else if (slice + slicing_.in_flight < slicing_.slices) {
      begin(position, slice + slicing_.in_flight);
    }
  }
}

void Pace::arrive(Position position, const Transit& transit) {
  std::vector<Part>& parts = walker(position, transit.slice).parts;
  --std::ranges::lower_bound(parts, transit.round, {}, &Part::round)->waiting;
  advance(position, transit.slice);
}

void Pace::handle(const Event& event) {
  if (event.what == What::arrive) {
    const Transit transit = transits_[event.id];  // Others may come while we look.
    last_arrival_ = now_;
    if (--transits_[event.id].flows > 0) return;
    if (slicing_.awaits_sends) arrive(transit.from, transit);
    return arrive(transit.to, transit);
  }
  Flight& flight = flights_[event.id];
  if (event.version != flight.version) return;
  changed_.push_back(event.id);
  if (event.what == What::start) {
    flight.since = now_;
    return sharing_.add(event.id, flight.path, flight.turn);
  }
  sharing_.remove(event.id);
  const double hops = fabric_.hop_seconds * static_cast<double>(flight.path.size());
  plan(now_ + hops, What::arrive, flight.transit);
}

// New rates, and new ends where they differ.
void Pace::share() {
  const std::vector<std::uint32_t> flows = sharing_.joined(changed_);
  changed_.clear();
  for (const std::uint32_t f : flows) {
    Flight& flight = flights_[f];
    flight.left = std::max(0.0, flight.left - sharing_.rate(f) * (now_ - flight.since));
    flight.since = now_;
    ++flight.version;
  }
  sharing_.share(flows);
  for (const std::uint32_t f : flows) {
    const Flight& flight = flights_[f];
    if (sharing_.rate(f) == 0) continue;  // Others of its sender take all there is.
    plan(now_ + flight.left / sharing_.rate(f), What::end, f, flight.version);
  }
}

double Pace::run() {
  for (std::uint32_t slice = 0; slice < std::min(slicing_.in_flight, slicing_.slices); ++slice) {
    for (std::uint32_t p = 0; p < traffic_.positions; ++p) begin(Position{p}, slice);
  }
  while (!events_.empty()) {
    now_ = events_.top().when;
    while (!events_.empty() && events_.top().when <= now_ * (1 + rounding)) {
      const Event event = events_.top();
      events_.pop();
      handle(event);
    }
    if (!changed_.empty()) share();
  }
  for (std::uint32_t p = 0; p < walkers_.size(); ++p) {
    ACCL_ASSERT(walkers_[p].at == walkers_[p].parts.size(), p, walkers_[p].at);
  }
  return last_arrival_;
}

}  // namespace

double paced_seconds(const Fabric& fabric, const Traffic& traffic,
                     std::span<const RoutedRound> rounds, double bytes_per_chunk,
                     const Slicing& slicing, bool switches_are_free) {
  return Pace(fabric, traffic, rounds, bytes_per_chunk, slicing, switches_are_free).run();
}

}  // namespace accl::topology
