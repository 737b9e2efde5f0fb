#include "transport/fault/fault.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "accl/base/error.h"
#include "accl/base/log.h"
#include "transport/forward.h"

namespace accl {
namespace {

struct KindName {
  std::string_view name;
  FaultKind kind;
};
constexpr std::array kind_names{
    KindName{"flip", FaultKind::flip},         KindName{"drop", FaultKind::drop},
    KindName{"delay", FaultKind::delay},       KindName{"refuse", FaultKind::refuse},
    KindName{"break", FaultKind::break_},      KindName{"die", FaultKind::die},
    KindName{"stop", FaultKind::stop},         KindName{"skip_release", FaultKind::skip_release},
    KindName{"truncate", FaultKind::truncate},
};

// One put in this many is refused.
constexpr std::uint32_t refuse_one_in = 4;

// Arrivals are held back for fewer polls than this.
constexpr std::uint32_t longest_delay_polls = 64;

// Geometry belongs to the transport inside; this is the most any of ours accepts.
constexpr std::uint32_t most_lanes = 64;

class FaultEndpoint;

// What the endpoints of one transport count together; lives as long as the last of them.
struct Shared {
  explicit Shared(const FaultPlan& made) : plan(made), random(made.k) {}

  bool is(FaultKind kind) const { return plan.kind == kind; }

  FaultPlan plan;
  std::mt19937_64 random;
  std::uint64_t calls = 0, messages = 0, releases = 0;
  bool done = false;  // The fault that happens once has happened.
  bool armed = false;
  bool news = false;  // Something for the caller to look at before it sleeps.
  std::vector<FaultEndpoint*> endpoints;
};

class FaultEndpoint : public ForwardEndpoint {
 public:
  FaultEndpoint(std::unique_ptr<Endpoint> inner, std::shared_ptr<Shared> shared)
      : ForwardEndpoint(std::move(inner)), shared_(std::move(shared)) {
    shared_->endpoints.push_back(this);
  }
  ~FaultEndpoint() override { std::erase(shared_->endpoints, this); }

  LaneCounters counters(std::uint32_t lane) const override;
  bool put(std::uint32_t lane, const Parcel& parcel) override;
  void release(std::uint32_t lane, std::uint32_t position) override;
  bool tells_along() const override {
    return !shared_->is(FaultKind::skip_release) && inner().tells_along();
  }
  bool expect(std::uint32_t lane, std::uint32_t until, std::span<std::byte> target) override;
  std::string failure() const override { return failure_.empty() ? inner().failure() : failure_; }
  bool broken() const override { return !failure_.empty() || inner().broken(); }

  void show_arrivals();  // After each poll.
  bool keeps_awake() const;

 private:
  // Arrivals of a lane that the caller uses, as far as they are shown.
  struct Shown {
    const std::atomic<std::uint32_t>* real = nullptr;
    std::atomic<std::uint32_t> shown{0};
    std::uint32_t polls_left = 0;
  };

  bool begin_call();
  bool is_due(const Parcel& parcel) const;
  bool put_or_refuse(std::uint32_t lane, const Parcel& parcel);
  bool put_flipped(std::uint32_t lane, const Parcel& parcel);
  bool put_truncated(std::uint32_t lane, const Parcel& parcel);
  bool put_counted(std::uint32_t lane, const Parcel& parcel);

  std::shared_ptr<Shared> shared_;
  mutable std::array<Shown, most_lanes> lanes_;
  std::vector<std::byte> changed_;  // Payload that the transport still sends.
  std::uint64_t refused_ = 0;       // Lanes whose last put was refused.
  std::string failure_;
};

// Counts a call, and does what happens at the k-th. False: the endpoint is broken.
bool FaultEndpoint::begin_call() {
  const bool now = ++shared_->calls == shared_->plan.k;
  if (now && shared_->is(FaultKind::die)) ::raise(SIGKILL);
  if (now && shared_->is(FaultKind::stop)) ::raise(SIGSTOP);
  if (now && shared_->is(FaultKind::break_)) {
    failure_ = fmt::format("broken on purpose at call {}", shared_->calls);
    shared_->news = true;
  }
  return failure_.empty();
}

// Whether the fault hits this message: the k-th, or the first after it that has something to spoil.
bool FaultEndpoint::is_due(const Parcel& parcel) const {
  return !shared_->done && shared_->messages + 1 >= shared_->plan.k && parcel.head.bytes > 0;
}

bool FaultEndpoint::put(std::uint32_t lane, const Parcel& parcel) {
  if (!begin_call()) return false;
  if (shared_->is(FaultKind::refuse)) return put_or_refuse(lane, parcel);
  if (shared_->is(FaultKind::drop) && shared_->messages + 1 == shared_->plan.k) {
    ++shared_->messages;
    log(LogLevel::info, "fault: dropped message {}", shared_->messages);
    return true;
  }
  if (shared_->is(FaultKind::flip) && is_due(parcel)) return put_flipped(lane, parcel);
  if (shared_->is(FaultKind::truncate) && is_due(parcel)) return put_truncated(lane, parcel);
  return put_counted(lane, parcel);
}

// No event would say that the next try may succeed. So nobody may sleep over a refusal, and there
// is none between arm() and the sleep.
bool FaultEndpoint::put_or_refuse(std::uint32_t lane, const Parcel& parcel) {
  const std::uint64_t bit = std::uint64_t{1} << lane;
  if (!shared_->armed && shared_->random() % refuse_one_in == 0) {
    refused_ |= bit;
    return false;
  }
  refused_ &= ~bit;
  return put_counted(lane, parcel);
}

bool FaultEndpoint::put_counted(std::uint32_t lane, const Parcel& parcel) {
  if (!inner().put(lane, parcel)) return false;
  ++shared_->messages;
  return true;
}

// Flips a high bit of the last byte: of the last element of any type that is its sign's neighbour,
// so that no rounding hides it.
bool FaultEndpoint::put_flipped(std::uint32_t lane, const Parcel& parcel) {
  constexpr std::byte bit{0x40};
  if (std::byte* const outbox = this->outbox(lane); outbox != nullptr) {
    const std::uint32_t bytes = parcel.head.bytes;
    std::byte& last = outbox[parcel.offset + payload_offset(bytes) + bytes - 1];
    last ^= bit;
    shared_->done = put_counted(lane, parcel);
    if (!shared_->done) last ^= bit;
    return shared_->done;
  }
  changed_.clear();
  for (const auto piece : parcel.pieces)
    changed_.insert(changed_.end(), piece.begin(), piece.end());
  changed_.back() ^= bit;
  const std::span<const std::byte> whole(changed_);
  Parcel spoiled = parcel;
  spoiled.pieces = {&whole, 1};
  shared_->done = put_counted(lane, spoiled);
  return shared_->done;
}

bool FaultEndpoint::put_truncated(std::uint32_t lane, const Parcel& parcel) {
  Parcel spoiled = parcel;
  spoiled.head.bytes = parcel.head.bytes / 2;
  if (std::byte* const outbox = this->outbox(lane); outbox != nullptr) {
    std::memcpy(outbox + parcel.offset, &spoiled.head, sizeof spoiled.head);
    shared_->done = put_counted(lane, spoiled);
    if (!shared_->done) std::memcpy(outbox + parcel.offset, &parcel.head, sizeof parcel.head);
    return shared_->done;
  }
  std::vector<std::span<const std::byte>> pieces;
  std::size_t left = spoiled.head.bytes;
  for (const auto piece : parcel.pieces) {
    pieces.push_back(piece.first(std::min(left, piece.size())));
    left -= pieces.back().size();
  }
  spoiled.pieces = pieces;
  shared_->done = put_counted(lane, spoiled);
  return shared_->done;
}

void FaultEndpoint::release(std::uint32_t lane, std::uint32_t position) {
  if (!begin_call()) return;
  const bool lost = ++shared_->releases == shared_->plan.k && shared_->is(FaultKind::skip_release);
  if (!lost) inner().release(lane, position);
}

bool FaultEndpoint::expect(std::uint32_t lane, std::uint32_t until, std::span<std::byte> target) {
  return begin_call() && inner().expect(lane, until, target);
}

LaneCounters FaultEndpoint::counters(std::uint32_t lane) const {
  LaneCounters counters = inner().counters(lane);
  if (!shared_->is(FaultKind::delay)) return counters;
  lanes_[lane].real = counters.arrived;
  counters.arrived = &lanes_[lane].shown;
  return counters;
}

void FaultEndpoint::show_arrivals() {
  for (Shown& lane : lanes_) {
    if (lane.real == nullptr) continue;
    const std::uint32_t real = lane.real->load(std::memory_order_acquire);
    if (real == lane.shown.load(std::memory_order_relaxed)) continue;
    if (lane.polls_left == 0) {
      lane.polls_left = 1 + static_cast<std::uint32_t>(shared_->random() % longest_delay_polls);
    } else if (--lane.polls_left == 0) {
      lane.shown.store(real, std::memory_order_release);
    }
  }
}

// Whether the caller has to come back for what no event will tell.
bool FaultEndpoint::keeps_awake() const {
  return refused_ != 0 || std::ranges::any_of(lanes_, [](const Shown& lane) {
           return lane.real != nullptr && lane.real->load(std::memory_order_acquire) !=
                                              lane.shown.load(std::memory_order_relaxed);
         });
}

class FaultTransport : public ForwardTransport {
 public:
  FaultTransport(std::unique_ptr<Transport> inner, const FaultPlan& plan)
      : ForwardTransport(std::move(inner)), shared_(std::make_shared<Shared>(plan)) {}

  std::unique_ptr<Endpoint> open(Rank peer, Fd meeting) override {
    return std::make_unique<FaultEndpoint>(inner().open(peer, std::move(meeting)), shared_);
  }

  bool poll() override {
    inner().poll();
    shared_->news = false;
    if (shared_->is(FaultKind::delay)) {
      for (FaultEndpoint* endpoint : shared_->endpoints) endpoint->show_arrivals();
    }
    return true;  // What was refused may be taken now.
  }

  bool arm() override {
    shared_->armed = true;
    const bool armed = inner().arm();
    return armed && !shared_->news &&
           std::ranges::none_of(shared_->endpoints, &FaultEndpoint::keeps_awake);
  }

  void disarm() override {
    shared_->armed = false;
    inner().disarm();
  }

 private:
  std::shared_ptr<Shared> shared_;
};

}  // namespace

FaultPlan parse_fault(std::string_view text) {
  const std::size_t colon = text.find(':');
  const auto* const row = std::ranges::find(kind_names, text.substr(0, colon), &KindName::name);
  const std::string_view number = colon == text.npos ? "" : text.substr(colon + 1);
  const char* const end = number.data() + number.size();
  FaultPlan plan;
  const auto [stop, problem] = std::from_chars(number.data(), end, plan.k);
  const bool counted = problem == std::errc{} && stop == end && plan.k >= 1;
  if (row == kind_names.end() || !counted) {
    std::string names;
    for (const KindName& kind : kind_names) names += fmt::format(" {}", kind.name);
    fail(ErrorKind::invalid_argument,
         "fault '{}': write KIND:K, with K a whole number from 1 and KIND one of{}", text, names);
  }
  plan.kind = row->kind;
  return plan;
}

std::unique_ptr<Transport> make_fault_transport(std::unique_ptr<Transport> inner,
                                                const FaultPlan& plan) {
  return std::make_unique<FaultTransport>(std::move(inner), plan);
}

}  // namespace accl
