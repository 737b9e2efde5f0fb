#include "tests/failure/cast.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>

#include "accl/base/clock.h"

namespace accl::test {
namespace {

// Buffers large enough for any of the calls.
class Actor {
 public:
  Actor(const Plot& plot, accl_comm_t* comm)
      : plot_(plot),
        comm_(comm),
        send_(plot.count * plot.ranks),
        recv_(plot.count * plot.ranks),
        counts_(plot.ranks, plot.count) {
    int rank = 0, size = 0;
    accl_comm_rank(comm, &rank);
    accl_comm_size(comm, &size);
    next_ = (rank + 1) % size;
    previous_ = (rank + size - 1) % size;
    rank_ = rank;
    for (std::size_t r = 0; r < plot.ranks; ++r) offsets_.push_back(r * plot.count);
  }

  accl_result_t call() {
    const std::string& name = plot_.call;
    const int root = static_cast<int>(plot_.ranks) / 2;
    float* const s = send_.data();
    float* const r = recv_.data();
    const std::size_t n = plot_.count;
    constexpr auto type = ACCL_FLOAT32;
    if (name == "reduce_scatter") return accl_reduce_scatter(s, r, n, type, ACCL_SUM, comm_);
    if (name == "allgather") return accl_allgather(s, r, n, type, comm_);
    if (name == "broadcast") return accl_broadcast(s, r, n, type, root, comm_);
    if (name == "reduce") return accl_reduce(s, r, n, type, ACCL_SUM, root, comm_);
    if (name == "alltoall") return accl_alltoall(s, r, n, type, comm_);
    if (name == "gather") return accl_gather(s, r, n, type, root, comm_);
    if (name == "scatter") return accl_scatter(s, r, n, type, root, comm_);
    if (name == "barrier") return accl_barrier(comm_);
    if (name == "sendrecv") return accl_sendrecv(s, n, next_, r, n, previous_, type, comm_);
    if (name == "alltoallv") {
      return accl_alltoallv(s, counts_.data(), offsets_.data(), r, counts_.data(), offsets_.data(),
                            type, comm_);
    }
    if (name == "send") return pass_on();
    if (name == "started") return start();
    return accl_allreduce(s, r, n, type, ACCL_SUM, comm_);
  }

 private:
  // Round the ring, rank 0 first.
  accl_result_t pass_on() {
    const auto send = [&] {
      return accl_send(send_.data(), plot_.count, ACCL_FLOAT32, next_, comm_);
    };
    const auto receive = [&] {
      return accl_recv(recv_.data(), plot_.count, ACCL_FLOAT32, previous_, comm_);
    };
    const accl_result_t first = rank_ == 0 ? send() : receive();
    if (first != ACCL_SUCCESS) return first;
    return rank_ == 0 ? receive() : send();
  }

  accl_result_t start() {
    accl_request_t* request = nullptr;
    const accl_result_t started = accl_allreduce_start(send_.data(), recv_.data(), plot_.count,
                                                       ACCL_FLOAT32, ACCL_SUM, comm_, &request);
    if (started != ACCL_SUCCESS) return started;
    usleep(300);  // The progress thread is inside the call, not this one.
    return accl_wait(request);
  }

  const Plot plot_;
  accl_comm_t* const comm_;
  int rank_ = 0, next_ = 0, previous_ = 0;
  std::vector<float> send_, recv_;
  std::vector<std::size_t> counts_, offsets_;
};

std::string ending(int result, int left_open, std::int64_t at_ms, const std::string& text) {
  return fmt::format("{} {} {} {}", result, left_open, at_ms, text);
}

// A communicator of its own for the part of a play that is named "part".
accl_comm_t* split_off(accl_comm_t* comm) {
  accl_comm_t* part = nullptr;
  return accl_comm_split(comm, 1, 0, &part) == ACCL_SUCCESS ? part : nullptr;
}

accl_result_t call_until_it_fails(const Plot& plot, accl_comm_t* comm) {
  Actor actor(plot, comm);
  accl_result_t result = ACCL_SUCCESS;
  for (std::uint64_t i = 0; plot.most_calls == 0 || i < plot.most_calls; ++i) {
    result = actor.call();
    if (result != ACCL_SUCCESS) break;
  }
  return result;
}

}  // namespace

std::vector<std::string> call_names() {
  return {"allreduce", "reduce_scatter", "allgather", "broadcast", "reduce",
          "alltoall",  "alltoallv",      "gather",    "scatter",   "barrier",
          "sendrecv",  "send",           "started",   "part"};
}

std::int64_t now_ms() {
  return std::chrono::duration_cast<Milliseconds>(Clock::now().time_since_epoch()).count();
}

std::string perform(const Plot& plot, const UniqueId& id, Stage& stage) {
  const auto before = static_cast<int>(open_descriptors());
  const auto left_open = [&] { return static_cast<int>(open_descriptors()) - before; };
  accl_unique_id_t api_id;
  std::memcpy(api_id.bytes, id.bytes.data(), sizeof api_id.bytes);
  const accl_config_t config{.size = sizeof config,
                             .algorithm = plot.algorithm.c_str(),
                             .transport = plot.transport.c_str(),
                             .timeout_ms = plot.timeout_ms};
  accl_comm_t* comm = nullptr;
  const accl_result_t joined = accl_comm_create(&comm, static_cast<int>(plot.ranks), &api_id,
                                                static_cast<int>(stage.rank()), &config);
  if (joined != ACCL_SUCCESS) {
    stage.say(ending(joined, left_open(), now_ms(), accl_last_error(nullptr)));
    return stage.hear();
  }
  accl_comm_t* const part = plot.call == "part" ? split_off(comm) : nullptr;
  accl_comm_t* const used = part != nullptr ? part : comm;
  stage.say("ready");
  stage.hear();
  if (plot.absent == static_cast<std::int64_t>(stage.rank())) pause();
  const accl_result_t result = call_until_it_fails(plot, used);
  const std::int64_t at_ms = now_ms();
  const std::string text = accl_last_error(used);
  if (result == ACCL_SUCCESS) accl_barrier(comm);  // Nobody leaves while another needs it.
  if (part != nullptr) accl_comm_destroy(part);
  accl_comm_destroy(comm);
  stage.say(ending(result, left_open(), at_ms, text));
  return stage.hear();
}

Ending hear_ending(Crew& crew, std::uint32_t rank, int timeout_ms) {
  const Deadline deadline{Milliseconds(timeout_ms)};
  std::string line = "ready";
  while (line == "ready") line = crew.hear(rank, deadline.left_ms());
  Ending ending;
  int length = 0;
  long long at_ms = 0;
  const int found = std::sscanf(line.c_str(), "%d %d %lld %n", &ending.result, &ending.left_open,
                                &at_ms, &length);
  ending.is_heard = found == 3;
  ending.at_ms = at_ms;
  ending.text = ending.is_heard ? line.substr(static_cast<std::size_t>(length)) : line;
  return ending;
}

std::vector<std::string> litter() {
  std::vector<std::string> names;
  for (const char* folder : {"/dev/shm", "/tmp"}) {
    std::error_code hidden;
    for (const auto& entry : std::filesystem::directory_iterator(folder, hidden)) {
      const std::string name = entry.path().filename();
      // Folders are other tests' scratch, which they remove.
      const bool is_ours = name.find("accl") != std::string::npos && !entry.is_directory(hidden);
      if (is_ours) names.push_back(entry.path());
    }
  }
  return names;
}

}  // namespace accl::test
