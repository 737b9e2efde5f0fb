#include "tests/random/play.h"

#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <stdexcept>
#include <thread>

#include "accl/base/mix.h"
#include "tests/random/act.h"

namespace accl::test {
namespace {

constexpr std::uint32_t calls_per_phase = 50;
constexpr std::size_t most_started = 4;
constexpr int timeout_ms = 60'000;  // For machines with many more ranks than cores.

struct Destroy {
  void operator()(accl_comm_t* comm) const { accl_comm_destroy(comm); }
};
using Owned = std::unique_ptr<accl_comm_t, Destroy>;

Seat seat_of(const Owned& comm) {
  Seat seat{.comm = comm.get()};
  int rank = 0, size = 0;
  accl_comm_rank(comm.get(), &rank);
  accl_comm_size(comm.get(), &size);
  seat.rank = static_cast<std::uint32_t>(rank);
  seat.size = static_cast<std::uint32_t>(size);
  return seat;
}

// Calls on one communicator, some of them started and ended later.
class Phase {
 public:
  Phase(const Owned& comm, std::string algorithm, std::uint64_t seed, std::uint32_t world_rank)
      : seat_(seat_of(comm)),
        algorithm_(std::move(algorithm)),
        dice_(mix(seed)),
        own_dice_(mix(seed) + world_rank) {}

  void run(std::uint32_t calls) {
    for (std::uint32_t i = 0; i < calls; ++i) {
      const Draw draw = draw_call(dice_, seat_.size, algorithm_);
      auto act = std::make_unique<Act>(seat_, draw, own_dice_);
      guarded(*act, i, [&] { act->run(); });
      if (act->is_started()) {
        started_.emplace_back(i, std::move(act));
      } else {
        guarded(*act, i, [&] { require_right(*act); });
      }
      while (started_.size() > most_started || (!started_.empty() && own_dice_.one_in(4)))
        end_one();
    }
    while (!started_.empty()) end_one();
  }

 private:
  using Started = std::pair<std::uint32_t, std::unique_ptr<Act>>;

  static void require_right(const Act& act) {
    const std::string problem = act.check();
    if (!problem.empty()) throw std::runtime_error(problem);
  }

  // In any order: the calls run in theirs all the same.
  void end_one() {
    const auto at = static_cast<std::ptrdiff_t>(own_dice_.below(started_.size()));
    Started one = std::move(started_[static_cast<std::size_t>(at)]);
    started_.erase(started_.begin() + at);
    guarded(*one.second, one.first, [&] {
      one.second->finish(own_dice_.one_in(2));
      require_right(*one.second);
    });
  }

  template <class Body>
  void guarded(const Act& act, std::uint32_t number, Body&& body) const {
    try {
      body();
    } catch (const std::exception& error) {
      throw std::runtime_error(fmt::format("call {} ({}, algorithm {}) of rank {} of {}: {}",
                                           number, describe(act.draw()), algorithm_, seat_.rank,
                                           seat_.size, error.what()));
    }
  }

  const Seat seat_;
  const std::string algorithm_;
  Dice dice_, own_dice_;
  std::deque<Started> started_;
};

Owned create(const Script& script, std::size_t number, std::uint32_t rank) {
  accl_unique_id_t id;
  std::memcpy(id.bytes, script.ids[number].bytes.data(), sizeof id.bytes);
  const accl_config_t config{.size = sizeof config,
                             .algorithm = script.job.algorithms[number].c_str(),
                             .transport = script.job.transport.c_str(),
                             .timeout_ms = timeout_ms};
  accl_comm_t* comm = nullptr;
  const int size = static_cast<int>(script.job.ranks);
  if (accl_comm_create(&comm, size, &id, static_cast<int>(rank), &config) != ACCL_SUCCESS) {
    throw std::runtime_error(accl_last_error(nullptr));
  }
  return Owned(comm);
}

Owned split(const Owned& comm, std::uint64_t seed, std::uint32_t rank, int& color) {
  Dice dice(mix(seed + rank));
  color = static_cast<int>(dice.below(3)) - (dice.one_in(8) ? 3 : 0);
  const int key = static_cast<int>(dice.below(5));
  accl_comm_t* part = nullptr;
  if (accl_comm_split(comm.get(), color, key, &part) != ACCL_SUCCESS) {
    throw std::runtime_error(accl_last_error(comm.get()));
  }
  return Owned(part);
}

// The whole communicator and parts of it in turn.
void drive(const Script& script, const Owned& comm, std::size_t number, std::uint32_t rank) {
  const std::string& algorithm = script.job.algorithms[number];
  for (std::uint32_t done = 0; done < script.calls; done += calls_per_phase) {
    const std::uint64_t seed = mix(script.job.seed * 1000 + number) + done;
    if (done / calls_per_phase % 2 == 0) {
      Phase(comm, algorithm, seed, rank).run(calls_per_phase);
      continue;
    }
    int color = 0;
    const Owned part = split(comm, seed, rank, color);
    if (part == nullptr) continue;
    Phase(part, algorithm, seed + static_cast<std::uint64_t>(color), rank).run(calls_per_phase);
    accl_barrier(part.get());
  }
  // Nobody says goodbye while another may still need it.
  if (accl_barrier(comm.get()) != ACCL_SUCCESS) {
    throw std::runtime_error(accl_last_error(comm.get()));
  }
}

}  // namespace

std::string play(const Script& script, std::uint32_t rank) {
  if (!script.job.hosts.empty()) ::setenv("ACCL_HOST_ID", script.job.hosts[rank].c_str(), 1);
  const std::size_t count = script.job.algorithms.size();
  std::vector<Owned> comms;
  std::vector<std::string> problems(count);
  for (std::size_t i = 0; i < count; ++i) comms.push_back(create(script, i, rank));
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      try {
        drive(script, comms[i], i, rank);
      } catch (const std::exception& error) {
        problems[i] = fmt::format("communicator {}: {}; ", i, error.what());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::string all;
  for (const std::string& problem : problems) all += problem;
  return all;
}

}  // namespace accl::test
