// tcp_benchmark.cc - what the tcp transport costs beyond the sockets under it. Two processes on
// this host exchange the same bytes both ways at once, by a bare loop of non-blocking send and
// receive, and through the Transport interface; the two take turns, so that both meet the same
// machine. Prints medians in microseconds and the ratio.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <span>
#include <vector>

#include "accl/base/error.h"
#include "accl/base/units.h"
#include "accl/lane.h"
#include "transport/tcp/tcp.h"

namespace accl {
namespace {

constexpr std::uint32_t slice_bytes = 256 << 10;
constexpr int rounds = 15;

// Both ends of a TCP connection over the loopback device.
std::array<Fd, 2> connect_loopback() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const name = reinterpret_cast<sockaddr*>(&address);
  socklen_t bytes = sizeof address;
  const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::bind(listener.get(), name, bytes) != 0 || ::listen(listener.get(), 1) != 0 ||
      ::getsockname(listener.get(), name, &bytes) != 0) {
    fail_system("cannot listen on the loopback device", errno);
  }
  std::array<Fd, 2> ends;
  ends[0].reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(ends[0].get(), name, bytes) != 0) fail_system("cannot connect", errno);
  ends[1].reset(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  const int on = 1;
  for (const Fd& end : ends) {
    if (::setsockopt(end.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) {
      fail_system("cannot set TCP_NODELAY", errno);
    }
  }
  return ends;
}

// One end of both ways to exchange.
class Exchange {
 public:
  Exchange(Rank peer, Fd bare, Fd meeting)
      : bare_(std::move(bare)),
        transport_(make_tcp_transport(geometry_)),
        endpoint_(transport_->open(peer, std::move(meeting))) {}

  void finish() {
    endpoint_->finish(Deadline(Milliseconds(10000)));
    lane_ = Lane(*endpoint_, 0, geometry_);
  }

  void by_sockets(std::span<const std::byte> out, std::span<std::byte> in) {
    while (!out.empty() || !in.empty()) {
      if (!out.empty()) {
        out = out.subspan(moved(::send(bare_.get(), out.data(), out.size(), MSG_DONTWAIT)));
      }
      if (!in.empty()) {
        in = in.subspan(moved(::recv(bare_.get(), in.data(), in.size(), MSG_DONTWAIT)));
      }
    }
  }

  void by_transport(std::span<const std::byte> out, std::span<std::byte> in) {
    expect_next(in);
    while (!out.empty() || !in.empty() || !lane_.is_sent(lane_.out_position())) {
      send_some(out);
      transport_->poll();
      receive_some(in);
      if (endpoint_->broken()) fail(ErrorKind::remote, "{}", endpoint_->failure());
    }
  }

 private:
  static std::size_t moved(ssize_t bytes) {
    if (bytes > 0) return static_cast<std::size_t>(bytes);
    if (bytes < 0 && errno == EAGAIN) return 0;
    fail(ErrorKind::remote, "the bare connection broke");
  }
  static std::uint32_t slice_of(std::size_t bytes) {
    return static_cast<std::uint32_t>(std::min<std::size_t>(bytes, slice_bytes));
  }

  void send_some(std::span<const std::byte>& out) {
    while (!out.empty() && lane_.has_room(slice_of(out.size()))) {
      const std::span<const std::byte> piece = out.first(slice_of(out.size()));
      const Head head{.bytes = slice_of(out.size())};
      if (!lane_.send(head, {&piece, 1})) return;
      out = out.subspan(piece.size());
    }
  }

  void expect_next(std::span<std::byte> in) {
    const std::uint32_t bytes = slice_of(in.size());
    if (bytes >= 4096) endpoint_->expect(0, lane_.in_until(bytes), in.first(bytes));
  }

  void receive_some(std::span<std::byte>& in) {
    while (!in.empty()) {
      const std::uint32_t bytes = slice_of(in.size());
      const Head* const head = lane_.arrived(bytes);
      if (head == nullptr) return;
      if (!endpoint_->took(0, lane_.in_until(bytes))) {
        std::memcpy(in.data(), Lane::payload(head, bytes), bytes);
      }
      lane_.release(bytes, false);
      in = in.subspan(bytes);
      expect_next(in);
    }
  }

  Geometry geometry_{.lanes = 1, .ring_bytes = 1 << 20};
  Fd bare_;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<Endpoint> endpoint_;
  Lane lane_;
};

template <class Step>
double time_us(int repeats, const Step& step) {
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < repeats; ++i) step();
  const std::chrono::duration<double, std::micro> taken = std::chrono::steady_clock::now() - begin;
  return taken.count() / repeats;
}

double median(std::vector<double>& values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

void measure(Exchange& exchange, std::size_t bytes, bool prints) {
  const std::vector<std::byte> out(bytes, std::byte{42});
  std::vector<std::byte> in(bytes);
  const int repeats = static_cast<int>(std::clamp<std::size_t>((8 << 20) / bytes, 2, 1000));
  std::vector<double> bare_us, ours_us, ratios;
  for (int round = 0; round < rounds; ++round) {
    bare_us.push_back(time_us(repeats, [&] { exchange.by_sockets(out, in); }));
    std::ranges::fill(in, std::byte{0});
    ours_us.push_back(time_us(repeats, [&] { exchange.by_transport(out, in); }));
    if (in != out) fail(ErrorKind::system, "the exchange of {} bytes went wrong", bytes);
    ratios.push_back(ours_us.back() / bare_us.back());
  }
  if (!prints) return;
  std::printf("%8s %12.2f %12.2f %8.2f\n", format_bytes(bytes).c_str(), median(bare_us),
              median(ours_us), median(ratios));
}

void measure_all(Exchange& exchange, bool prints) {
  exchange.finish();
  if (prints) std::printf("%8s %12s %12s %8s\n", "bytes", "sockets us", "transport us", "ratio");
  for (const std::size_t kib : {0, 4, 32, 256, 2048, 16384}) {
    measure(exchange, kib == 0 ? 8 : kib << 10, prints);
  }
}

int run() {
  std::array<Fd, 2> bare = connect_loopback();
  std::array<Fd, 2> meeting = connect_loopback();
  const pid_t child = ::fork();
  if (child < 0) fail_system("cannot start a second process", errno);
  const int me = child == 0 ? 1 : 0;
  if (me == 1) ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  bare[1 - me].reset();
  meeting[1 - me].reset();
  Exchange exchange(Rank(1 - me), std::move(bare[me]), std::move(meeting[me]));
  measure_all(exchange, me == 0);
  if (me == 1) ::_exit(0);
  int status = 0;
  ::waitpid(child, &status, 0);
  return status == 0 ? 0 : 1;
}

}  // namespace
}  // namespace accl

int main() {
  try {
    return accl::run();
  } catch (const accl::Error& error) {
    std::fprintf(stderr, "tcp_benchmark: %s\n", error.what());
    return 2;
  }
}
