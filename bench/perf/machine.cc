#include "bench/perf/machine.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "accl/base/clock.h"
#include "accl/base/error.h"
#include "accl/base/fd.h"
#include "accl/kernels/kernels.h"
#include "bench/perf/conductor.h"

namespace accl::perf {
namespace {

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Median seconds of `rounds` runs of `work`.
double median_seconds(int rounds, const std::function<void()>& work) {
  std::vector<double> times;
  for (int i = 0; i < rounds; ++i) {
    const Clock::time_point begin = Clock::now();
    work();
    times.push_back(seconds_since(begin));
  }
  return median(times);
}

void measure_copies(Limits& limits) {
  constexpr std::size_t small = 256 << 10;
  constexpr std::size_t large = 64 << 20;
  std::vector<std::byte> from(large, std::byte{1});
  std::vector<std::byte> to(large, std::byte{2});
  constexpr int repeats = 400;
  const double cached = median_seconds(5, [&] {
    for (int i = 0; i < repeats; ++i) copy_bytes(to.data(), from.data(), small, Store::cached);
  });
  limits.copy_cached_gbps = repeats * small / cached / 1e9;
  const auto rate = [&](Store store) {
    const double seconds =
        median_seconds(5, [&] { copy_bytes(to.data(), from.data(), large, store); });
    return large / seconds / 1e9;
  };
  limits.copy_memory_gbps = rate(Store::cached);
  limits.copy_streaming_gbps = rate(Store::stream);
}

// Two counters a cache line apart, in memory that fork shares.
struct alignas(64) Line {
  std::atomic<std::uint32_t> value{0};
};
struct Court {
  Line ball;
};

// Passes the ball: waits for `mine` numbers of the parity, by `wait`, and answers with the next.
void rally(Court& court, std::uint32_t parity, std::uint32_t passes,
           const std::function<void(std::atomic<std::uint32_t>&, std::uint32_t)>& wait,
           const std::function<void(std::atomic<std::uint32_t>&)>& wake) {
  for (std::uint32_t at = parity; at < 2 * passes; at += 2) {
    while (court.ball.value.load(std::memory_order_acquire) != at) wait(court.ball.value, at);
    court.ball.value.store(at + 1, std::memory_order_release);
    wake(court.ball.value);
  }
}

using Wait = std::function<void(std::atomic<std::uint32_t>&, std::uint32_t)>;
using Wake = std::function<void(std::atomic<std::uint32_t>&)>;

// Seconds of one pass between this thread and another, pinned to these cores.
double thread_rally(int core_a, int core_b, std::uint32_t passes, const Wait& wait,
                    const Wake& wake) {
  Court court;
  double seconds = 0;
  std::thread other([&] {
    bind_to(core_b);
    rally(court, 1, passes, wait, wake);
  });
  std::thread here([&] {  // A thread of its own, so that the caller stays unpinned.
    bind_to(core_a);
    const Clock::time_point begin = Clock::now();
    rally(court, 0, passes, wait, wake);
    seconds = seconds_since(begin);
  });
  here.join();
  other.join();
  return seconds / (2.0 * passes);
}

// The same between two processes on one core that yield to each other; this one is a thread.
double yield_rally(int core, std::uint32_t passes) {
  void* const memory =
      ::mmap(nullptr, sizeof(Court), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail_system("memory for two processes", errno);
  Court& court = *new (memory) Court;
  const auto yield = [](std::atomic<std::uint32_t>&, std::uint32_t) { ::sched_yield(); };
  const auto nothing = [](std::atomic<std::uint32_t>&) {};
  const pid_t pid = ::fork();
  if (pid < 0) fail_system("a second process", errno);
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    bind_to(core);
    rally(court, 1, passes, yield, nothing);
    ::_exit(0);
  }
  double seconds = 0;
  std::thread here([&] {
    bind_to(core);
    const Clock::time_point begin = Clock::now();
    rally(court, 0, passes, yield, nothing);
    seconds = seconds_since(begin);
  });
  here.join();
  ::waitpid(pid, nullptr, 0);
  ::munmap(memory, sizeof(Court));
  return seconds / (2.0 * passes);
}

// What two cores pass to each other while both send and receive, as ranks of an allreduce do.
struct Mailbox {
  static constexpr std::size_t message = 128 << 10;
  static constexpr std::size_t messages = 3;  // Under way at most.

  Line sent, received;
  std::vector<std::byte> ring = std::vector<std::byte>(message * messages);
  std::byte* at(std::uint32_t number) { return ring.data() + number % messages * message; }
};

void swap_messages(Mailbox& ours, Mailbox& theirs, int core, std::uint32_t count) {
  bind_to(core);
  std::vector<std::byte> data(2 * Mailbox::message);
  const auto wait_for = [](const Line& line, std::uint32_t number) {
    while (line.value.load(std::memory_order_acquire) < number) {
    }
  };
  for (std::uint32_t i = 0; i < count; ++i) {
    if (i >= Mailbox::messages) wait_for(ours.received, i + 1 - Mailbox::messages);
    copy_bytes(ours.at(i), data.data(), Mailbox::message, Store::cached);
    ours.sent.value.store(i + 1, std::memory_order_release);
    wait_for(theirs.sent, i + 1);
    copy_bytes(data.data() + Mailbox::message, theirs.at(i), Mailbox::message, Store::cached);
    theirs.received.value.store(i + 1, std::memory_order_release);
  }
}

// Bytes per second each way.
double swap_rate(int core_a, int core_b, std::uint32_t count) {
  Mailbox a, b;
  const Clock::time_point begin = Clock::now();
  std::thread other([&] { swap_messages(b, a, core_b, count); });
  std::thread here([&] { swap_messages(a, b, core_a, count); });
  other.join();
  here.join();
  return static_cast<double>(count) * Mailbox::message / seconds_since(begin);
}

long futex(std::atomic<std::uint32_t>& word, int operation, std::uint32_t value) {
  return ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), operation, value, nullptr,
                   nullptr, 0);
}

void measure_waits(Limits& limits) {
  const std::vector<int> cores = allowed_cores();
  const auto nothing = [](std::atomic<std::uint32_t>&) {};
  if (cores.size() >= 2) {
    const auto spin = [](std::atomic<std::uint32_t>&, std::uint32_t) {};
    const auto sleep = [](std::atomic<std::uint32_t>& word, std::uint32_t wanted) {
      const std::uint32_t seen = word.load(std::memory_order_acquire);
      if (seen != wanted) futex(word, FUTEX_WAIT_PRIVATE, seen);
    };
    const auto wake = [](std::atomic<std::uint32_t>& word) { futex(word, FUTEX_WAKE_PRIVATE, 1); };
    limits.ping_pong_ns = thread_rally(cores[0], cores[1], 100'000, spin, nothing) * 1e9;
    limits.futex_us = thread_rally(cores[0], cores[1], 5'000, sleep, wake) * 1e6;
    limits.core_gbps = swap_rate(cores[0], cores[1], 5'000) / 1e9;
  }
  if (!cores.empty()) limits.yield_us = yield_rally(cores[0], 20'000) * 1e6;
}

// A connected pair of TCP sockets over 127.0.0.1.
std::pair<Fd, Fd> tcp_pair() {
  Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listener.get(), generic, bytes) != 0 || ::listen(listener.get(), 1) != 0 ||
      ::getsockname(listener.get(), generic, &bytes) != 0 ||
      ::connect(client.get(), generic, bytes) != 0) {
    fail_system("a socket over loopback", errno);
  }
  Fd server(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!server) fail_system("a socket over loopback", errno);
  const int on = 1;
  for (const Fd* end : {&client, &server}) {
    ::setsockopt(end->get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  return {std::move(client), std::move(server)};
}

bool receive_all(int socket, std::span<std::byte> bytes) {
  return ::recv(socket, bytes.data(), bytes.size(), MSG_WAITALL) ==
         static_cast<ssize_t>(bytes.size());
}

void measure_sockets(Limits& limits) {
  constexpr std::size_t chunk = 256 << 10;
  constexpr int chunks = 2048;
  constexpr int passes = 5'000;
  const auto [client, server] = tcp_pair();
  std::vector<std::byte> out(chunk, std::byte{3});
  std::thread other([socket = server.get()] {
    std::vector<std::byte> in(chunk);
    for (int i = 0; i < chunks && receive_all(socket, in); ++i) {
    }
    std::array<std::byte, 8> small{};
    for (int i = 0; i < passes + 1; ++i) {
      if (::send(socket, small.data(), small.size(), MSG_NOSIGNAL) < 0) return;
      if (i < passes && !receive_all(socket, small)) return;
    }
  });
  std::array<std::byte, 8> small{};
  Clock::time_point begin = Clock::now();
  for (int i = 0; i < chunks; ++i) {
    if (::send(client.get(), out.data(), chunk, MSG_NOSIGNAL) < 0) break;
  }
  static_cast<void>(receive_all(client.get(), small));  // The other has read everything.
  limits.socket_gbps = 8.0 * chunks * chunk / seconds_since(begin) / 1e9;
  begin = Clock::now();
  for (int i = 0; i < passes; ++i) {
    if (::send(client.get(), small.data(), small.size(), MSG_NOSIGNAL) < 0) break;
    if (!receive_all(client.get(), small)) break;
  }
  limits.socket_us = seconds_since(begin) / (2.0 * passes) * 1e6;
  ::shutdown(client.get(), SHUT_RDWR);  // Whatever went wrong above, the other thread ends.
  other.join();
}

}  // namespace

std::vector<int> allowed_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cores;
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

void bind_to(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  static_cast<void>(::sched_setaffinity(0, sizeof set, &set));
}

Limits measure_limits() {
  Limits limits;
  measure_copies(limits);
  measure_waits(limits);
  measure_sockets(limits);
  return limits;
}

std::string limits_text(const Limits& limits) {
  return fmt::format(
      "# Limits of this machine: copy {:.1f} GB/s in cache, {:.1f} from memory, {:.1f} with "
      "streaming stores;\n"
      "#   cache line to another core {:.0f} ns; through shared memory {:.1f} GB/s each way at "
      "once;\n"
      "#   sched_yield to another process {:.2f} us; futex wake {:.1f} us;\n"
      "#   TCP over loopback {:.1f} Gbit/s, {:.1f} us for 8 bytes one way\n",
      limits.copy_cached_gbps, limits.copy_memory_gbps, limits.copy_streaming_gbps,
      limits.ping_pong_ns, limits.core_gbps, limits.yield_us, limits.futex_us, limits.socket_gbps,
      limits.socket_us);
}

nlohmann::ordered_json limits_json(const Limits& limits) {
  return {{"copy_cached_gbps", limits.copy_cached_gbps},
          {"copy_memory_gbps", limits.copy_memory_gbps},
          {"copy_streaming_gbps", limits.copy_streaming_gbps},
          {"cache_line_ns", limits.ping_pong_ns},
          {"core_to_core_gbps", limits.core_gbps},
          {"sched_yield_us", limits.yield_us},
          {"futex_wake_us", limits.futex_us},
          {"tcp_gbit_per_s", limits.socket_gbps},
          {"tcp_us", limits.socket_us}};
}

}  // namespace accl::perf
