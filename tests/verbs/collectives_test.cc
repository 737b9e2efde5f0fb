// collectives_test.cc - every algorithm over the fake libibverbs, all ranks in one thread that
// drives them in a random order: with registered memory, where payloads land in their places, the
// result is the one without, and of what could land there a good part does.
#include <fmt/format.h>

#include <cstdint>
#include <map>
#include <random>

#include "accl/executor.h"
#include "algorithms/catalog.h"
#include "tests/verbs/over_fake.h"
#include "transport/forward.h"

namespace accl::test {
namespace {

constexpr Geometry roomy{.lanes = most_lanes, .ring_bytes = 1 << 20};
constexpr std::uint32_t least_bytes = 32 << 10;  // Of what can land in its place.

struct Tally {
  std::uint32_t expected = 0, taken = 0;
};

class CountingEndpoint final : public ForwardEndpoint {
 public:
  CountingEndpoint(std::unique_ptr<Endpoint> inner, Tally& tally)
      : ForwardEndpoint(std::move(inner)), tally_(tally) {}
  bool expect(std::uint32_t lane, std::uint32_t until, std::span<std::byte> target) override {
    const bool is_accepted = inner().expect(lane, until, target);
    tally_.expected += is_accepted;
    return is_accepted;
  }
  bool took(std::uint32_t lane, std::uint32_t until) const override {
    const bool is_taken = inner().took(lane, until);
    tally_.taken += is_taken;
    return is_taken;
  }

 private:
  Tally& tally_;
};

struct Job {
  const Algorithm* algorithm = nullptr;
  std::uint32_t size = 0;
  std::size_t count = 0;          // Elements of a block, or of the vector.
  std::size_t message_bytes = 0;  // At most.
  bool is_in_place = false;
  bool is_known = false;  // Its memory, to the devices.
  std::uint32_t seed = 0;
};

bool is_of_blocks(Collective collective) {
  return collective == Collective::reduce_scatter || collective == Collective::allgather ||
         collective == Collective::alltoall || collective == Collective::gather ||
         collective == Collective::scatter;
}

// One rank of a job.
class Player {
 public:
  Player(const Job& job, std::uint32_t me, Tally& tally)
      : job_(job),
        tally_(tally),
        me_(me),
        program_(lower(*job.algorithm, shape(), Position{me})),
        transport_(make_verbs_transport(
            roomy, {.shared_object = FakeVerbs::library(), .settings = settings_of({})})),
        input_(elements()),
        output_(elements(), -5) {
    std::mt19937 values(me + 1);
    for (std::int32_t& value : input_) value = static_cast<std::int32_t>(values() % 1000);
    if (job.is_in_place) output_ = input_;
    if (!job.is_known) return;
    regions_.push_back(transport_->add({.bytes = std::as_writable_bytes(std::span(input_))}));
    regions_.push_back(transport_->add({.bytes = std::as_writable_bytes(std::span(output_))}));
  }

  void meet(std::uint32_t peer, Fd socket) {
    endpoints_[peer] =
        std::make_unique<CountingEndpoint>(transport_->open(Rank{peer}, std::move(socket)), tally_);
  }
  bool joins() {
    bool is_joined = true;
    for (auto& [peer, endpoint] : endpoints_) {
      try {
        endpoint->finish(Deadline(Milliseconds(0)));
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::timeout) throw;
        is_joined = false;
      }
    }
    return is_joined;
  }

  void begin() {
    for (auto& [peer, endpoint] : endpoints_) {
      for (std::uint32_t i = 0; i < most_lanes; ++i) lanes_[peer].lanes[i] = {*endpoint, i, roomy};
    }
    for (const Position peer : program_.peers) peers_.push_back(&lanes_[index(peer)]);
    const std::size_t per_chunk =
        std::max<std::size_t>(1, job_.message_bytes / program_.largest / sizeof(std::int32_t));
    const Layout layout =
        is_of_blocks(job_.algorithm->collective)
            ? Layout::blocks(job_.count, program_.chunks, job_.size, per_chunk, {})
            : Layout::whole(job_.count, program_.chunks, per_chunk);
    Binding binding;
    binding.program = &program_;
    binding.peers = peers_;
    binding.input_layout = binding.output_layout = layout;
    binding.output.base = reinterpret_cast<std::byte*>(output_.data());
    binding.input.base =
        job_.is_in_place ? binding.output.base : reinterpret_cast<std::byte*>(input_.data());
    binding.is_in_place = job_.is_in_place;
    binding.type = DataType::int32;
    binding.kernel = reduce_kernel(binding.type, ReduceOp::sum);
    binding.width = most_lanes;
    binding.tag = 77;
    executor_.begin(binding);
  }
  bool is_done() const { return executor_.is_done(); }
  // Who does not look at what came may ask for a message that is here already.
  void go_on(bool looks) {
    if (looks) transport_->poll();
    if (!executor_.is_done()) executor_.advance();
  }
  const std::vector<std::int32_t>& output() const { return output_; }

 private:
  Shape shape() const { return {.size = job_.size, .root = Position{1 % job_.size}}; }
  std::size_t elements() const {
    return job_.count * (is_of_blocks(job_.algorithm->collective) ? job_.size : 1);
  }

  const Job& job_;
  Tally& tally_;
  const std::uint32_t me_;
  const Program program_;
  std::unique_ptr<Transport> transport_;
  std::vector<std::int32_t> input_, output_;
  std::vector<std::unique_ptr<Region>> regions_;  // They end before what they are of.
  std::map<std::uint32_t, std::unique_ptr<Endpoint>> endpoints_;
  std::map<std::uint32_t, PeerLanes> lanes_;
  std::vector<PeerLanes*> peers_;
  Executor executor_;
};

// Of every algorithm, on a few ranks, in place where it is defined so.
std::vector<Job> jobs() {
  std::vector<Job> all;
  const auto add = [&](const Algorithm& algorithm, std::uint32_t size) {
    const Collective collective = algorithm.collective;
    Job job{.algorithm = &algorithm, .size = size, .count = 60'000, .message_bytes = 64 << 10};
    all.push_back(job);
    job.is_in_place = true;
    if (collective != Collective::alltoall && collective != Collective::sendrecv)
      all.push_back(job);
  };
  for (const Algorithm& algorithm : algorithms()) {
    const Collective collective = algorithm.collective;
    if (collective == Collective::barrier || collective == Collective::alltoallv) continue;
    for (const std::uint32_t size : {2U, 4U, 5U}) {
      if (algorithm.fits({.size = size, .root = Position{1}})) add(algorithm, size);
    }
  }
  return all;
}

class VerbsCollectives : public VerbsFake {
 protected:
  // What all ranks have in the end, one after the other.
  std::vector<std::int32_t> play(const Job& job) {
    tally_ = {};
    std::vector<std::unique_ptr<Player>> players;
    for (std::uint32_t r = 0; r < job.size; ++r) {
      players.push_back(std::make_unique<Player>(job, r, tally_));
    }
    join_all(players);
    for (auto& player : players) player->begin();
    std::mt19937 random(job.seed);
    const Deadline deadline(patience);
    while (!std::ranges::all_of(players, [](const auto& one) { return one->is_done(); })) {
      const std::uint32_t draw = random();
      players[draw % players.size()]->go_on(draw >> 16 & 1);
      if (!deadline.passed()) continue;
      ADD_FAILURE() << "it hangs";
      break;
    }
    std::vector<std::int32_t> all;
    for (auto& player : players) {
      all.insert(all.end(), player->output().begin(), player->output().end());
    }
    return all;
  }

  static void join_all(std::vector<std::unique_ptr<Player>>& players) {
    for (std::uint32_t low = 0; low < players.size(); ++low) {
      for (std::uint32_t high = low + 1; high < players.size(); ++high) {
        auto [one, other] = connected_pair();
        players[low]->meet(high, std::move(one));
        players[high]->meet(low, std::move(other));
      }
    }
    const Deadline deadline(patience);
    bool is_joined = false;
    while (!is_joined && !deadline.passed()) {
      is_joined = true;
      for (auto& player : players) is_joined = player->joins() && is_joined;
    }
    ASSERT_TRUE(is_joined);
  }

  Tally tally_;
};

TEST_F(VerbsCollectives, EveryAlgorithmGivesTheSameWithPayloadsInTheirPlaces) {
  Tally sum;
  for (const Job& plain : jobs()) {
    const std::vector<std::int32_t> wanted = play(plain);
    EXPECT_EQ(tally_.expected, 0U) << "no device knows the memory";
    Job job = plain;
    job.is_known = true;
    job.seed = job.size;
    EXPECT_TRUE(play(job) == wanted)
        << name_of(job.algorithm->collective) << ' ' << job.algorithm->name << ", " << job.size
        << " ranks" << (job.is_in_place ? ", in place" : "");
    sum.taken += tally_.taken;
    sum.expected += tally_.expected;
    ASSERT_STREQ(fake_.violation(), "");
  }
  EXPECT_GT(sum.taken, 500U);
  EXPECT_GT(sum.expected - sum.taken, 10U) << "expected too late";
}

// In a ring every rank knows long before where the final values go. In halving-doubling it is so of
// all but the first that it gets: those come back as soon as its own share of them arrived.
TEST_F(VerbsCollectives, MostOfWhatAnAllreduceOnlyPutsLandsInItsPlace) {
  struct Row {
    const char* name;
    std::uint32_t messages, least;  // That only have to be put in their places.
  };
  for (const Row& row : {Row{"hd", 32, 16}, Row{"ring", 24, 24}}) {
    const Job job{.algorithm = find_algorithm(Collective::allreduce, row.name),
                  .size = 4,
                  .count = (1 << 20) / sizeof(std::int32_t),
                  .message_bytes = 128 << 10,
                  .is_known = true,
                  .seed = 1};
    static_cast<void>(play(job));
    fmt::print("{}: {} of {} in their places\n", row.name, tally_.taken, row.messages);
    EXPECT_GE(tally_.taken, row.least);
    EXPECT_LE(tally_.taken, row.messages);
  }
}

}  // namespace
}  // namespace accl::test
