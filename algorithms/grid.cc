#include "algorithms/grid.h"

#include "algorithms/families.h"

namespace accl {
namespace {

// One dimension as the grid's index sees it.
class Group {
 public:
  Group(const Grid& grid, std::uint32_t number)
      : grid_(grid), number_(number), dimension_(grid.dimensions[number]) {
    digit_ = grid.index / dimension_.stride % dimension_.radix;
  }

  std::uint32_t radix() const { return dimension_.radix; }
  bool direct() const { return dimension_.direct; }

  // The member `ahead` places after this one, round the group; ahead < 2 * radix.
  Position member(std::uint32_t ahead) const { return grid_.position_of(index_of(ahead)); }
  Slice region(std::uint32_t ahead, Buffer buffer) const {
    return region_of(grid_, index_of(ahead), number_ + 1, buffer);
  }

 private:
  std::uint32_t index_of(std::uint32_t ahead) const {
    const std::uint32_t digit = (digit_ + ahead) % dimension_.radix;
    return grid_.index - digit_ * dimension_.stride + digit * dimension_.stride;
  }

  const Grid& grid_;
  std::uint32_t number_;
  Dimension dimension_;
  std::uint32_t digit_ = 0;
};

class ReduceScatter {
 public:
  ReduceScatter(const Grid& grid, Buffer from, Keep keep, StepList& list)
      : grid_(grid), from_(from), keep_(keep), list_(list) {}

  void emit() {
    for (std::uint32_t number = 0; number < grid_.dimensions.size(); ++number) {
      const Group group(grid_, number);
      last_ = number + 1 == grid_.dimensions.size();
      if (group.direct()) {
        direct(group);
      } else {
        ring(group);
      }
      if (group.radix() > 1) from_ = kept(false);
    }
  }

 private:
  // Region by region round the ring, each growing by one contribution per hop; the own one comes
  // last.
  void ring(const Group& group) {
    const std::uint32_t radix = group.radix();
    ++layer_;
    for (std::uint32_t hop = 0; hop + 1 < radix; ++hop) {
      send(group.region(radix - 1 - hop, hop == 0 ? from_ : kept(false)), group.member(1), layer_);
      receive(group.region(2 * radix - 2 - hop, from_), group.member(radix - 1),
              last_ && hop + 2 == radix);
    }
  }

  // Every member sends every other its region at once, a few peers ahead of what has come back. The
  // message of the member k places behind is the k-th to be taken, in the k-th layer of the group.
  void direct(const Group& group) {
    const std::uint32_t radix = group.radix();
    const std::uint32_t base = layer_;
    const auto send_to = [&](std::uint32_t ahead) {
      if (ahead >= radix) return;
      send(group.region(ahead, from_), group.member(ahead), base + ahead);
    };
    for (std::uint32_t ahead = 1; ahead <= families::peers_in_flight; ++ahead) send_to(ahead);
    for (std::uint32_t behind = 1; behind < radix; ++behind) {
      ++layer_;
      receive(group.region(0, behind == 1 ? from_ : kept(last_)), group.member(radix - behind),
              last_);
      send_to(behind + families::peers_in_flight);
    }
  }

  void send(Slice source, Position peer, std::uint32_t layer) {
    list_.send(source, peer, scratch(layer * grid_.chunks + source.chunk, source.count));
  }

  // Adds what comes from `peer` to what is held.
  void receive(Slice held, Position peer, bool final) {
    const Slice landing = scratch(layer_ * grid_.chunks + held.chunk, held.count);
    list_.recv(landing, peer);
    list_.reduce({kept(final), held.chunk, held.count}, held, landing);
  }

  Buffer kept(bool final) const {
    if (keep_ == Keep::own) return final ? Buffer::output : Buffer::scratch;
    return keep_ == Keep::output ? Buffer::output : Buffer::scratch;
  }

  const Grid& grid_;
  Buffer from_;
  Keep keep_;
  StepList& list_;
  bool last_ = false;
  std::uint32_t layer_ = 0;
};

class Allgather {
 public:
  Allgather(const Grid& grid, Buffer from, StepList& list)
      : grid_(grid), from_(from), list_(list) {}

  void emit() {
    for (auto left = static_cast<std::uint32_t>(grid_.dimensions.size()); left-- > 0;) {
      const Group group(grid_, left);
      if (group.direct()) {
        direct(group);
      } else {
        ring(group);
      }
    }
    take_own();
  }

 private:
  void ring(const Group& group) {
    const std::uint32_t radix = group.radix();
    for (std::uint32_t hop = 0; hop + 1 < radix; ++hop) {
      send(group.region(radix - hop, from_), group.member(1));
      take_own();
      list_.recv(group.region(radix - 1 - hop, Buffer::output), group.member(radix - 1));
    }
  }

  void direct(const Group& group) {
    const std::uint32_t radix = group.radix();
    const Slice own = group.region(0, from_);
    for (std::uint32_t ahead = 1; ahead <= families::peers_in_flight && ahead < radix; ++ahead) {
      send(own, group.member(ahead));
    }
    take_own();
    for (std::uint32_t behind = 1; behind < radix; ++behind) {
      list_.recv(group.region(radix - behind, Buffer::output), group.member(radix - behind));
      const std::uint32_t ahead = behind + families::peers_in_flight;
      if (ahead < radix) send(own, group.member(ahead));
    }
  }

  void send(Slice source, Position peer) {
    list_.send(source, peer, output(source.chunk, source.count));
  }

  // After the first send, so that nobody waits for this copy.
  void take_own() {
    if (from_ != Buffer::input) return;
    const auto all = static_cast<std::uint32_t>(grid_.dimensions.size());
    const Slice own = region_of(grid_, grid_.index, all, Buffer::output);
    list_.copy(own, input(own.chunk, own.count));
    from_ = Buffer::output;
  }

  const Grid& grid_;
  Buffer from_;
  StepList& list_;
};

}  // namespace

Slice region_of(const Grid& grid, std::uint32_t other, std::uint32_t fixed, Buffer buffer) {
  std::uint32_t first = 0;
  std::uint32_t left = grid.chunks;
  for (std::uint32_t number = 0; number < fixed; ++number) {
    const Dimension& dimension = grid.dimensions[number];
    left /= dimension.radix;
    first += other / dimension.stride % dimension.radix * left;
  }
  return {buffer, first, left};
}

void emit_reduce_scatter(const Grid& grid, Buffer from, Keep keep, StepList& list) {
  ReduceScatter(grid, from, keep, list).emit();
}

void emit_allgather(const Grid& grid, Buffer from, StepList& list) {
  Allgather(grid, from, list).emit();
}

}  // namespace accl
