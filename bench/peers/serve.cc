#include "bench/peers/serve.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "accl/base/error.h"
#include "accl/base/fd.h"

namespace accl::peers {
namespace {

using Clock = std::chrono::steady_clock;

struct Free {
  void operator()(std::byte* memory) const { std::free(memory); }
};
using Memory = std::unique_ptr<std::byte, Free>;

// As accl-perf gets its own buffers: page aligned, touched before anything is timed.
Memory allocate(std::size_t bytes) {
  constexpr std::size_t page = 4096;
  const std::size_t whole = (bytes / page + 1) * page;
  Memory memory(static_cast<std::byte*>(std::aligned_alloc(page, whole)));
  if (!memory) fail(ErrorKind::system, "no memory for a buffer of {} bytes", bytes);
  std::memset(memory.get(), 0, whole);
  return memory;
}

Fd connect_to(const std::string& path) {
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    fail(ErrorKind::invalid_argument, "{}: too long for a socket's path", path);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    fail_system(path, errno);
  }
  return socket;
}

// False at end of file.
bool read_all(const Fd& socket, void* target, std::size_t bytes) {
  return ::recv(socket.get(), target, bytes, MSG_WAITALL) == static_cast<ssize_t>(bytes);
}

void write_all(const Fd& socket, const void* source, std::size_t bytes) {
  if (::send(socket.get(), source, bytes, MSG_NOSIGNAL) != static_cast<ssize_t>(bytes)) {
    fail(ErrorKind::remote, "accl-perf is gone");
  }
}

class Server {
 public:
  Server(Library& library, const std::string& path) : library_(library), socket_(connect_to(path)) {
    Greeting greeting;
    greeting.rank = library.rank();
    greeting.size = library.size();
    const std::string version = library.version();
    std::strncpy(greeting.version, version.c_str(), sizeof greeting.version - 1);
    write_all(socket_, &greeting, sizeof greeting);
  }

  bool serve_one() {
    Order order;
    if (!read_all(socket_, &order, sizeof order)) return false;
    Answer answer;
    std::vector<double> batches;
    if (!library_.supports(order)) {
      answer.status = Answer::Status::unsupported;
    } else {
      prepare(order);
      batches = time(order);
      if (!is_right(order)) answer.status = Answer::Status::wrong;
    }
    answer.batches = batches.size();
    write_all(socket_, &answer, sizeof answer);
    write_all(socket_, batches.data(), batches.size() * sizeof(double));
    return true;
  }

 private:
  void prepare(const Order& order) {
    // The largest any collective needs: a block from or for each rank.
    const std::size_t width = size_of(static_cast<DataType>(order.type));
    const auto collective = static_cast<Collective>(order.collective);
    const bool flat = collective == Collective::allreduce || collective == Collective::reduce ||
                      collective == Collective::broadcast || collective == Collective::sendrecv;
    const std::size_t bytes = order.count * width * (flat ? 1 : library_.size());
    if (bytes > capacity_ || !send_) {
      send_ = allocate(bytes);
      recv_ = allocate(bytes);
      capacity_ = bytes;
    }
    if (!is_checked(order)) return;
    const float mine = static_cast<float>(library_.rank() + 1);
    std::fill_n(reinterpret_cast<float*>(send_.get()), order.count, mine);
  }

  std::vector<double> time(const Order& order) {
    std::vector<double> batches;
    batches.reserve(order.iterations / order.batch + 1);
    for (std::uint64_t i = 0; i < order.warmup; ++i) {
      library_.run(order, send_.get(), recv_.get());
    }
    library_.barrier();
    Clock::time_point begin = Clock::now();
    for (std::uint64_t done = 0; done < order.iterations;) {
      const std::uint64_t run = std::min(order.batch, order.iterations - done);
      for (std::uint64_t i = 0; i < run; ++i) library_.run(order, send_.get(), recv_.get());
      const Clock::time_point end = Clock::now();
      batches.push_back(std::chrono::duration<double>(end - begin).count() /
                        static_cast<double>(run));
      done += run;
      begin = end;
    }
    return batches;
  }

  // A peer that does nothing would be a fast one: sums of floats are looked at.
  static bool is_checked(const Order& order) {
    return static_cast<Collective>(order.collective) == Collective::allreduce &&
           static_cast<DataType>(order.type) == DataType::float32 &&
           static_cast<ReduceOp>(order.op) == ReduceOp::sum;
  }
  bool is_right(const Order& order) const {
    if (!is_checked(order)) return true;
    const float size = static_cast<float>(library_.size());
    const std::span<const float> result(reinterpret_cast<const float*>(recv_.get()), order.count);
    return std::ranges::all_of(result, [&](float got) { return got == size * (size + 1) / 2; });
  }

  Library& library_;
  Fd socket_;
  Memory send_, recv_;
  std::size_t capacity_ = 0;
};

}  // namespace

void serve(Library& library, const std::string& path) {
  Server server(library, path);
  while (server.serve_one()) {
  }
}

}  // namespace accl::peers
