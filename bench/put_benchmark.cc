// put_benchmark.cc - what a transport alone does between two processes of this host, the k-th on
// the k-th NIC where there are several: half a round trip of 8 bytes, and the rate of large
// messages one way, a window of them under way. Prints "BYTES MICROSECONDS" of each, for scripts to
// read.
//
// put_benchmark verbs|tcp|shm [ITERATIONS]
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "accl/base/error.h"
#include "accl/lane.h"
#include "transport/shm/shm.h"
#include "transport/tcp/tcp.h"
#include "transport/verbs/verbs.h"

namespace accl {
namespace {

using Microseconds = std::chrono::duration<double, std::micro>;

constexpr Geometry geometry{.lanes = 4, .ring_bytes = 4 << 20};
constexpr std::uint32_t large_bytes = 1 << 20;
constexpr std::uint32_t tiny_bytes_sent = 8;
constexpr Milliseconds patience{20000};
constexpr auto sleep_after = std::chrono::milliseconds(1);
constexpr int longest_sleep_ms = 20;
constexpr std::uint32_t polls_between_clocks = 256;  // Reading it can be a system call.

std::unique_ptr<Transport> make(const std::string& name, std::uint32_t me) {
  if (name == "verbs") return make_verbs_transport(geometry, {.turn = me});
  if (name == "tcp") return make_tcp_transport(geometry);
  if (name == "shm") return make_shm_transport(geometry);
  fail(ErrorKind::invalid_argument, "'{}': give verbs, tcp or shm", name);
}

class End {
 public:
  End(const std::string& transport, std::uint32_t me, Fd meeting)
      : transport_(make(transport, me)),
        endpoint_(transport_->open(Rank{1 - me}, std::move(meeting))) {
    endpoint_->finish(Deadline(patience));
    for (std::uint32_t i = 0; i < geometry.lanes; ++i) lanes_[i] = Lane(*endpoint_, i, geometry);
  }

  void send(std::uint32_t lane, std::uint32_t bytes) {
    const Head head{.tag = 1, .bytes = bytes};
    const std::span<const std::byte> piece(payload_.data(), bytes);
    wait([&] {
      if (!lanes_[lane].has_room(bytes)) return false;
      if (!lanes_[lane].is_pull()) return lanes_[lane].send(head, {&piece, 1});
      std::copy(piece.begin(), piece.end(), lanes_[lane].begin(head));
      return lanes_[lane].publish(head);
    });
  }
  void receive(std::uint32_t lane, std::uint32_t bytes) {
    wait([&] { return lanes_[lane].arrived(bytes) != nullptr; });
    lanes_[lane].release(bytes, false);
  }

 private:
  // As the library waits: it tries again what a poll gives a reason for, asks for the time only now
  // and then, and sleeps after a millisecond.
  template <class Done>
  void wait(const Done& done) {
    std::optional<Clock::time_point> since;
    bool has_news = true;
    for (std::uint32_t polls = 1; !has_news || !done(); ++polls) {
      has_news = transport_->poll();
      if (polls % polls_between_clocks != 0) continue;
      const auto now = Clock::now();
      if (!since) since = now;
      if (endpoint_->broken()) fail(ErrorKind::remote, "{}", endpoint_->failure());
      if (now - *since > patience) fail(ErrorKind::timeout, "nothing moves");
      if (now - *since <= sleep_after) continue;
      if (is_done_or_sleeps(done)) return;
      has_news = true;
    }
  }

  // Whoever is done has sent or received, and must not be asked again.
  template <class Done>
  bool is_done_or_sleeps(const Done& done) {
    const bool may_sleep = transport_->arm();
    pollfd wait{transport_->event_fd(), POLLIN, 0};
    const bool is_done = done();
    if (may_sleep && !is_done) ::poll(&wait, 1, longest_sleep_ms);
    transport_->disarm();
    return is_done;
  }

  std::unique_ptr<Transport> transport_;
  std::unique_ptr<Endpoint> endpoint_;
  std::array<Lane, geometry.lanes> lanes_;
  std::vector<std::byte> payload_ = std::vector<std::byte>(large_bytes);
};

// The median, as perftest's typical one, and by the processor's ticks as there: in a machine that
// is emulated the clock is a system call. The first half of the runs is to get warm.
double ping_pong(End& end, std::uint32_t me, int iterations) {
  std::vector<std::uint64_t> ticks;
  ticks.reserve(static_cast<std::size_t>(iterations));
  auto began = Clock::now();
  std::uint64_t first = 0, last = 0;
  for (int i = -iterations; i < iterations; ++i) {
    if (i == 0) {
      began = Clock::now();
      first = last = __builtin_ia32_rdtsc();
    }
    if (me == 0) end.send(0, tiny_bytes_sent);
    end.receive(0, tiny_bytes_sent);
    if (me == 1) end.send(0, tiny_bytes_sent);
    const std::uint64_t now = __builtin_ia32_rdtsc();
    if (i >= 0) ticks.push_back(now - last);
    last = now;
  }
  const double us_per_tick =
      Microseconds(Clock::now() - began).count() / static_cast<double>(last - first);
  const auto middle = ticks.begin() + iterations / 2;
  std::ranges::nth_element(ticks, middle);
  return static_cast<double>(*middle) * us_per_tick / 2;
}

double stream(End& end, std::uint32_t me, int iterations) {
  auto began = Clock::now();
  for (int i = -iterations / 4; i < iterations; ++i) {
    if (i == 0) began = Clock::now();
    me == 0 ? end.send(0, large_bytes) : end.receive(0, large_bytes);
  }
  // All have arrived when the other end says so.
  me == 0 ? end.receive(0, tiny_bytes_sent) : end.send(0, tiny_bytes_sent);
  return Microseconds(Clock::now() - began).count() / iterations;
}

void run(const std::string& transport, std::uint32_t me, Fd meeting, int iterations) {
  End end(transport, me, std::move(meeting));
  const double tiny_us = ping_pong(end, me, iterations);
  const double large_us = stream(end, me, std::max(8, iterations / 10));
  if (me == 0) {
    std::printf("%u %.3f\n%u %.3f\n", tiny_bytes_sent, tiny_us, large_bytes, large_us);
  }
}

int both(const std::string& transport, int iterations) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    fail_system("socketpair", errno);
  }
  Fd mine(ends[0]), theirs(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) fail_system("fork", errno);
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    mine.reset();
    try {
      run(transport, 1, std::move(theirs), iterations);
    } catch (const Error& error) {
      std::fprintf(stderr, "put_benchmark: %s\n", error.what());
      ::_exit(1);
    }
    ::_exit(0);
  }
  theirs.reset();
  run(transport, 0, std::move(mine), iterations);
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main_of(std::span<char* const> words) {
  if (words.size() < 2 || words.size() > 3) {
    std::fprintf(stderr, "put_benchmark verbs|tcp|shm [ITERATIONS]\n");
    return 2;
  }
  try {
    return both(words[1], words.size() > 2 ? std::max(1, std::atoi(words[2])) : 1000);
  } catch (const Error& error) {
    std::fprintf(stderr, "put_benchmark: %s\n", error.what());
    return error.kind() == ErrorKind::invalid_argument ? 2 : 1;
  }
}

}  // namespace
}  // namespace accl

int main(int argc, char** argv) {
  return accl::main_of(std::span(argv, static_cast<std::size_t>(argc)));
}
