#include "transport/shm/shm.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "accl/base/assert.h"
#include "accl/base/error.h"
#include "transport/shm/barrier.h"
#include "transport/shm/greeting.h"
#include "transport/shm/views.h"

namespace accl {
namespace {

// The layout of a segment: one Control, LaneWords for each lane, then the rings. The owner of a
// segment sends; its peer receives. Each word has one writer and a cache line of its own.
struct alignas(64) Word {
  std::atomic<std::uint32_t> value{0};
};

struct LaneWords {
  Word arrived;                        // By the owner: messages published until here.
  Word released;                       // By the peer: messages read until here.
  Word read;                           // By the peer: messages it read from the cells.
  Word reserved;                       // Cells come in pairs of lines.
  std::array<Cell, cell_count> cells;  // By the owner.
};

struct alignas(alignof(Cell)) Control {
  Word sleeping;  // By the owner: write its event descriptor after changing a word it reads.
  Word viewable;  // By the peer: it can map the owner's exported memory.
};

constexpr std::size_t page_bytes = Segment::page_bytes;

std::size_t control_bytes(const Geometry& g) {
  const std::size_t bytes = sizeof(Control) + g.lanes * sizeof(LaneWords);
  return (bytes + page_bytes - 1) / page_bytes * page_bytes;
}

std::size_t segment_bytes(const Geometry& g) {
  return control_bytes(g) + std::size_t{g.lanes} * g.ring_bytes;
}

Control& control_of(std::byte* segment) { return *reinterpret_cast<Control*>(segment); }

LaneWords& lane_of(std::byte* segment, std::uint32_t lane) {
  return reinterpret_cast<LaneWords*>(segment + sizeof(Control))[lane];
}

class Shm;

class ShmEndpoint final : public Endpoint {
 public:
  ShmEndpoint(Shm& owner, Rank peer, Fd meeting);
  ~ShmEndpoint() override;

  void finish(const Deadline& deadline) override;
  LaneCounters counters(std::uint32_t lane) const override;
  std::byte* outbox(std::uint32_t lane) override { return own_.mapping.data() + ring_at(lane); }
  const std::byte* inbox(std::uint32_t lane) const override {
    return theirs_.data() + ring_at(lane);
  }
  Cells cells(std::uint32_t lane) override;
  void changed_cell() override { wake_if_asleep(); }
  bool put(std::uint32_t lane, const Parcel& parcel) override {
    publish(lane_of(own_.mapping.data(), lane).arrived, parcel.until);
    return true;
  }
  void release(std::uint32_t lane, std::uint32_t position) override {
    publish(lane_of(theirs_.data(), lane).released, position);
  }
  bool expect(std::uint32_t, std::uint32_t, std::span<std::byte>) override { return false; }
  bool took(std::uint32_t, std::uint32_t) const override { return false; }
  const std::byte* view(const RegionKey& key, std::uint64_t offset, std::uint64_t bytes) override;
  bool is_viewable() const override {
    return control_of(own_.mapping.data()).viewable.value.load(std::memory_order_relaxed) != 0;
  }
  std::string failure() const override { return {}; }
  bool broken() const override { return false; }

  void set_sleeping(bool sleeping) {
    control_of(own_.mapping.data()).sleeping.value.store(sleeping, std::memory_order_relaxed);
  }

 private:
  std::size_t ring_at(std::uint32_t lane) const {
    return control_bytes(geometry_) + std::size_t{lane} * geometry_.ring_bytes;
  }
  // Stores a word the peer looks at, and wakes it if it sleeps.
  void publish(Word& word, std::uint32_t value) {
    word.value.store(value, std::memory_order_release);
    wake_if_asleep();
  }
  void wake_if_asleep() const {
    store_load_fence(cheap_fence_);
    if (peer_sleeping_->value.load(std::memory_order_relaxed) != 0) [[unlikely]]
      wake();
  }
  void wake() const;

  Shm& owner_;
  Geometry geometry_;
  Rank peer_;
  Fd meeting_;
  Segment own_;
  Mapping theirs_;
  Word* peer_sleeping_ = nullptr;
  Fd peer_event_;
  bool cheap_fence_ = false;  // The peer pays for the ordering when it goes to sleep.
};

class Shm final : public Transport {
 public:
  explicit Shm(const Geometry& geometry) : geometry_(geometry), event_(make_event()) {}
  ~Shm() override { ACCL_ASSERT(endpoints_.empty(), endpoints_.size()); }

  const char* name() const override { return "shm"; }
  std::unique_ptr<Endpoint> open(Rank peer, Fd meeting) override {
    return std::make_unique<ShmEndpoint>(*this, peer, std::move(meeting));
  }
  std::unique_ptr<Region> add(const Memory& memory) override { return export_memory(memory); }
  // Counters live in memory the peers write: nothing to drive, and they may change at any time.
  bool poll() override { return true; }
  int event_fd() const override { return event_.get(); }
  bool arm() override;
  void disarm() override;

  const Geometry& geometry() const { return geometry_; }
  std::vector<ShmEndpoint*>& endpoints() { return endpoints_; }
  Views& views() { return views_; }
  bool barrier_works() const { return barrier_works_; }

 private:
  static Fd make_event() {
    Fd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!event) fail_system("an event descriptor for shared memory", errno);
    return event;
  }

  Geometry geometry_;
  Fd event_;
  Views views_;
  const bool barrier_works_ = register_global_barrier();
  std::vector<ShmEndpoint*> endpoints_;
};

ShmEndpoint::ShmEndpoint(Shm& owner, Rank peer, Fd meeting)
    : owner_(owner),
      geometry_(owner.geometry()),
      peer_(peer),
      meeting_(std::move(meeting)),
      own_(Segment::create(segment_bytes(geometry_), "messages to a rank of this host")) {
  const ShmGreeting mine{.lanes = geometry_.lanes,
                         .ring_bytes = geometry_.ring_bytes,
                         .can_fence = owner.barrier_works() ? 1u : 0u,
                         .own_key = key_of(own_)};
  send_greeting(meeting_.get(), peer_, mine, own_.file.get(), owner.event_fd());
  owner_.endpoints().push_back(this);
}

ShmEndpoint::~ShmEndpoint() { std::erase(owner_.endpoints(), this); }

void ShmEndpoint::finish(const Deadline& deadline) {
  ReceivedGreeting got = receive_greeting(meeting_.get(), peer_, deadline);
  if (got.greeting.lanes != geometry_.lanes || got.greeting.ring_bytes != geometry_.ring_bytes) {
    fail(ErrorKind::invalid_usage,
         "rank {} uses {} lanes of {} bytes over shm where this rank uses {} of {}; give all ranks "
         "the same settings",
         index(peer_), got.greeting.lanes, got.greeting.ring_bytes, geometry_.lanes,
         geometry_.ring_bytes);
  }
  theirs_ = Mapping(got.segment.get(), segment_bytes(geometry_), true, "a peer's messages");
  peer_sleeping_ = &control_of(theirs_.data()).sleeping;
  peer_event_ = std::move(got.event);
  cheap_fence_ = owner_.barrier_works() && got.greeting.can_fence != 0;
  const bool can_view = map_region(got.greeting.own_key).data() != nullptr;
  control_of(theirs_.data()).viewable.value.store(can_view, std::memory_order_relaxed);
  meeting_.reset();
}

LaneCounters ShmEndpoint::counters(std::uint32_t lane) const {
  const LaneWords& own = lane_of(own_.mapping.data(), lane);
  const LaneWords& theirs = lane_of(theirs_.data(), lane);
  return {.arrived = &theirs.arrived.value,
          .released = &own.released.value,
          .sent = &own.arrived.value};
}

Cells ShmEndpoint::cells(std::uint32_t lane) {
  LaneWords& own = lane_of(own_.mapping.data(), lane);
  LaneWords& theirs = lane_of(theirs_.data(), lane);
  return {.out = own.cells.data(),
          .in = theirs.cells.data(),
          .freed = &own.read.value,
          .read = &theirs.read.value};
}

const std::byte* ShmEndpoint::view(const RegionKey& key, std::uint64_t offset,
                                   std::uint64_t bytes) {
  return owner_.views().find(key, offset, bytes);
}

void ShmEndpoint::wake() const {
  const std::uint64_t one = 1;
  // A full counter means that the peer is being woken already.
  [[maybe_unused]] const auto written = ::write(peer_event_.get(), &one, sizeof one);
}

bool Shm::arm() {
  for (ShmEndpoint* endpoint : endpoints_) endpoint->set_sleeping(true);
  // Whoever published before this line did so before the caller looks again; whoever publishes
  // after it sees the flag. That is what the peers' cheap fences rely on.
  sleeper_fence(barrier_works_);
  return true;
}

void Shm::disarm() {
  for (ShmEndpoint* endpoint : endpoints_) endpoint->set_sleeping(false);
  std::uint64_t count = 0;
  [[maybe_unused]] const auto got = ::read(event_.get(), &count, sizeof count);
}

}  // namespace

std::unique_ptr<Transport> make_shm_transport(const Geometry& geometry) {
  return std::make_unique<Shm>(geometry);
}

}  // namespace accl
