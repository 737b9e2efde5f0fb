#include "topology/probing/prober.h"

#include <algorithm>

#include "accl/base/error.h"

namespace accl::topology {
namespace {

// Of traceroute: nobody listens there, and kernels say so. The TTL is added.
constexpr std::uint16_t measuring_port = 33434;
// TTLs asked together while the distance is not known: few probes reach the destination.
constexpr unsigned ttls_at_once = 4;
constexpr unsigned most_measurements = 3;  // Of one TTL.
constexpr unsigned silent_rounds = 3;      // At the least, before silence is believed.

// Of the routers at one distance.
struct Silence {
  bool is_broken = false;  // In this round.
  unsigned rounds = 0;     // Without an answer, behind each other.
  Clock::time_point since{};
  bool is_final = false;
};

// One destination.
struct Way {
  explicit Way(const Address& to) : to(to) {}

  Address to;
  unsigned distance = 0;                      // Of the destination; 0: it has not answered.
  unsigned routers = 0;                       // TTLs that are asked for.
  std::optional<Address> refused_by;          // A router that knows no way.
  std::vector<std::optional<Address>> heard;  // While measuring, by TTL - 1.
  std::vector<Hops> hops;                     // By label; ends where the destination answers.
  std::vector<bool> is_refused;               // By label: a router on its way knows none further.
  std::vector<Silence> silence;               // By TTL - 1.

  bool is_open(std::size_t label, unsigned ttl) const {
    const Hops& found = hops[label];
    if (is_refused[label]) return false;
    return ttl <= found.size() && !found[ttl - 1] && !silence[ttl - 1].is_final;
  }
  bool is_open(std::size_t label) const {
    for (unsigned ttl = 1; ttl <= routers; ++ttl) {
      if (is_open(label, ttl)) return true;
    }
    return false;
  }
};

class Prober {
 public:
  Prober(Wire& wire, std::span<const Address> destinations, const ProbeLimits& limits)
      : wire_(wire), limits_(limits), next_send_(wire.now()), end_(wire.now() + limits.longest) {
    for (const Address& to : destinations) ways_.emplace_back(to);
  }

  std::vector<Trace> run() {
    for (unsigned ttl = 1; ttl <= limits_.most_hops; ttl += ttls_at_once) {
      if (wire_.now() < end_) measure_from(ttl);
    }
    for (Way& way : ways_) prepare(way);
    unsigned quiet_rounds = 0;
    while (wire_.now() < end_ && has_open()) {
      const bool is_fruitful = ask_round(limits_.patience * (quiet_rounds + 1));
      quiet_rounds = is_fruitful ? 0 : quiet_rounds + 1;
    }
    std::vector<Trace> traces;
    for (const Way& way : ways_) traces.push_back(trace_of(way));
    return traces;
  }

 private:
  // --- How far it is -----------------------------------------------------------------------------

  void measure_from(unsigned first) {
    const unsigned last = std::min<unsigned>(first + ttls_at_once - 1, limits_.most_hops);
    for (Way& way : ways_) {
      if (way.distance == 0) way.heard.resize(last);
    }
    for (unsigned k = 0; k < most_measurements; ++k) {
      asked_ = 0;
      for (unsigned ttl = first; ttl <= last; ++ttl) measure(ttl, k);
      await(limits_.patience * (k + 1));
    }
  }

  // Nothing beyond the least distance at which the destination answered is asked again.
  void measure(unsigned ttl, unsigned turn) {
    const std::span<const std::uint16_t> labels = wire_.labels();
    for (const Way& way : ways_) {
      if (ttl > way.heard.size() || way.heard[ttl - 1]) continue;
      if (way.distance != 0 && ttl > way.distance) continue;
      if (wire_.now() >= end_) return;
      send({.to = way.to,
            .port = static_cast<std::uint16_t>(measuring_port + ttl),
            .label = labels[turn % labels.size()],
            .ttl = static_cast<std::uint8_t>(ttl)});
    }
  }

  void take_measurement(Way& way, const Answer& answer) {
    const unsigned ttl = answer.port - measuring_port;
    if (ttl == 0 || ttl > way.heard.size() || way.heard[ttl - 1]) return;
    way.heard[ttl - 1] = answer.by;
    asked_ -= std::min(asked_, 1u);
    if (answer.by != way.to) return;
    way.distance = way.distance == 0 ? ttl : std::min(way.distance, ttl);
  }

  [[noreturn]] static void fail_without_way(const Way& way) {
    fail(ErrorKind::remote, "{} says that it knows no way to {}; is it an address of this fabric?",
         text_of(*way.refused_by), text_of(way.to));
  }

  void prepare(Way& way) {
    if (way.distance == 0 && way.refused_by) fail_without_way(way);
    // Only as far as a router was heard: behind the last one there may be the destination, whose
    // answer to a lesser TTL was lost.
    way.routers = way.distance == 0 ? static_cast<unsigned>(way.heard.size()) : way.distance - 1;
    while (way.routers > 0 && !way.heard[way.routers - 1]) --way.routers;
    if (way.distance == 0 && way.routers == 0) {
      fail(ErrorKind::remote,
           "nobody on the way to {} answers, nor it itself; is it up, is there a route, and do "
           "firewalls let ICMP errors pass?",
           text_of(way.to));
    }
    way.hops.assign(wire_.labels().size(), Hops(way.routers));
    way.is_refused.assign(wire_.labels().size(), false);
    way.silence.assign(way.routers, Silence{.since = wire_.now()});
  }

  // --- Who stands there --------------------------------------------------------------------------

  bool has_open() const {
    const auto is_open = [&](const Way& way) {
      for (std::size_t label = 0; label < way.hops.size(); ++label) {
        if (way.is_open(label)) return true;
      }
      return false;
    };
    return std::ranges::any_of(ways_, is_open);
  }

  // Asks all that is open once. True where anything came.
  bool ask_round(Milliseconds patience) {
    unsigned most = 0;
    for (Way& way : ways_) {
      for (Silence& silence : way.silence) silence.is_broken = false;
      most = std::max(most, way.routers);
    }
    if (!quotes_are_short_) {
      ask(1, most, patience);
    } else {
      for (unsigned ttl = 1; ttl <= most; ++ttl) ask(ttl, ttl, patience);
    }
    bool is_fruitful = false;
    for (Way& way : ways_) {
      for (Silence& silence : way.silence) {
        listen(silence);
        is_fruitful = is_fruitful || silence.is_broken;
      }
    }
    return is_fruitful;
  }

  void listen(Silence& silence) const {
    if (silence.is_broken) silence = {.is_broken = true, .since = wire_.now()};
    if (silence.is_broken || wire_.now() >= end_) return;
    const bool is_long = wire_.now() - silence.since >= limits_.silence;
    silence.is_final = ++silence.rounds >= silent_rounds && is_long;
  }

  void ask(unsigned first, unsigned last, Milliseconds patience) {
    first_ttl_ = first;
    last_ttl_ = last;
    asked_ = 0;
    for (std::size_t label = 0; label < wire_.labels().size(); ++label) {
      for (unsigned ttl = first; ttl <= last; ++ttl) ask_all(label, ttl);
    }
    await(patience);
  }

  void ask_all(std::size_t label, unsigned ttl) {
    for (const Way& way : ways_) {
      if (!way.is_open(label, ttl) || wire_.now() >= end_) continue;
      send({.to = way.to, .label = wire_.labels()[label], .ttl = static_cast<std::uint8_t>(ttl)});
    }
  }

  // Routers that quote eight bytes of a datagram do not tell its TTL: then one is asked at a time.
  void take_hop(Way& way, const Answer& answer) {
    const std::span<const std::uint16_t> labels = wire_.labels();
    const auto found = std::ranges::find(labels, answer.label);
    if (way.hops.empty() || found == labels.end()) return;
    Hops& hops = way.hops[static_cast<std::size_t>(found - labels.begin())];
    const bool is_told = answer.ttl != 0;
    quotes_are_short_ = quotes_are_short_ || !is_told;
    if (!is_told && first_ttl_ != last_ttl_) return;
    const unsigned ttl = is_told ? answer.ttl : first_ttl_;
    if (ttl > hops.size() || hops[ttl - 1]) return;
    way.silence[ttl - 1].is_broken = true;
    asked_ -= std::min(asked_, 1u);
    if (answer.by == way.to) {
      hops.resize(ttl - 1);  // It is nearer than it was when we measured.
    } else {
      hops[ttl - 1] = answer.by;
    }
  }

  // --- Both --------------------------------------------------------------------------------------

  void send(const Probe& probe) {
    while (wire_.now() < next_send_) {
      if (const auto answer = wire_.receive(next_send_)) take(*answer);
    }
    wire_.send(probe);
    ++asked_;
    const auto pause = std::chrono::microseconds(1'000'000 / limits_.per_second);
    next_send_ = std::max(next_send_, wire_.now()) + pause;
  }

  void await(Milliseconds patience) {
    const Clock::time_point until = wire_.now() + patience;
    while (asked_ > 0) {
      const auto answer = wire_.receive(until);
      if (!answer) return;
      take(*answer);
    }
  }

  // While measuring, the whole way; later the label's: a spine that lost its routes is no path.
  void refuse(Way& way, const Answer& answer) {
    way.refused_by = answer.by;
    const std::span<const std::uint16_t> labels = wire_.labels();
    const auto found = std::ranges::find(labels, answer.label);
    if (way.hops.empty() || found == labels.end()) return;
    way.is_refused[static_cast<std::size_t>(found - labels.begin())] = true;
    asked_ -= std::min(asked_, 1u);
  }

  void take(const Answer& answer) {
    const auto way = std::ranges::find(ways_, answer.to, &Way::to);
    if (way == ways_.end()) return;
    if (answer.has_no_way) {
      refuse(*way, answer);
    } else if (answer.port == roce_port) {
      take_hop(*way, answer);
    } else if (answer.port > measuring_port) {
      take_measurement(*way, answer);
    }
  }

  Trace trace_of(const Way& way) const {
    Trace trace{.to = way.to, .has_answered = way.distance != 0, .labels = {}};
    if (std::ranges::count(way.is_refused, false) == 0) fail_without_way(way);
    for (std::size_t i = 0; i < way.hops.size(); ++i) {
      if (way.is_refused[i]) {
        ++trace.refused;
      } else if (way.is_open(i)) {
        ++trace.undecided;
      } else {
        trace.labels.push_back({wire_.labels()[i], way.hops[i]});
      }
    }
    return trace;
  }

  Wire& wire_;
  const ProbeLimits limits_;
  Clock::time_point next_send_;
  const Clock::time_point end_;
  std::vector<Way> ways_;
  bool quotes_are_short_ = false;
  unsigned first_ttl_ = 0, last_ttl_ = 0;  // That are being asked.
  unsigned asked_ = 0;                     // Probes of this round that have no answer.
};

}  // namespace

std::vector<Trace> trace(Wire& wire, std::span<const Address> destinations,
                         const ProbeLimits& limits) {
  return Prober(wire, destinations, limits).run();
}

}  // namespace accl::topology
