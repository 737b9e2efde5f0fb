// turns_benchmark.cc - allreduce of this library and of the MPI that started the ranks, in turns
// within the same processes: what disturbs the machine then hits both alike, so their ratio can be
// trusted where two runs of one of them differ by a third. `accl-perf --peers` gives each library
// processes of its own, which is fairer and noisier.
//
// mpirun -n N turns_benchmark SECONDS BYTES...
// Prints for each size: bytes, us of a call here and in MPI (medians of turns), the median over
// turns of MPI's time by ours, and the number of turns. Exit 1: a sum was wrong, or a call failed.
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "accl/accl.h"

namespace {

using Clock = std::chrono::steady_clock;

constexpr int calls_a_turn = 20;
constexpr int warm_up_calls = 3;

struct Times {
  std::vector<double> ours, theirs;  // Microseconds a call, by turn.
};

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

[[noreturn]] void give_up(const char* text) {
  std::fprintf(stderr, "turns_benchmark: %s\n", text);
  MPI_Abort(MPI_COMM_WORLD, 1);
  std::abort();
}

double turn(const std::function<void()>& call) {
  for (int i = 0; i < warm_up_calls; ++i) call();
  const auto began = Clock::now();
  for (int i = 0; i < calls_a_turn; ++i) call();
  return std::chrono::duration<double, std::micro>(Clock::now() - began).count() / calls_a_turn;
}

class Rank {
 public:
  Rank() {
    MPI_Comm_rank(MPI_COMM_WORLD, &number_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
    if (accl_comm_create_from_environment(&comm_, nullptr) != ACCL_SUCCESS) {
      give_up(accl_last_error(nullptr));
    }
  }
  Rank(const Rank&) = delete;
  Rank& operator=(const Rank&) = delete;
  ~Rank() { accl_comm_destroy(comm_); }

  void run(double seconds, const std::vector<std::size_t>& sizes) {
    std::vector<Times> times(sizes.size());
    const auto time = std::chrono::duration<double>(seconds);
    const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(time);
    while (goes_on(end)) {
      for (std::size_t i = 0; i < sizes.size(); ++i) take_turns(sizes[i], times[i]);
    }
    if (number_ != 0) return;
    std::printf("# %d ranks\n#   bytes    accl us     MPI us  MPI/accl  turns\n", size_);
    for (std::size_t i = 0; i < sizes.size(); ++i) print(sizes[i], times[i]);
  }

 private:
  // Rank 0's clock is everybody's.
  bool goes_on(Clock::time_point end) const {
    int goes = Clock::now() < end ? 1 : 0;
    MPI_Bcast(&goes, 1, MPI_INT, 0, MPI_COMM_WORLD);
    return goes != 0;
  }

  void take_turns(std::size_t bytes, Times& times) {
    const std::size_t count = bytes / sizeof(float);
    std::vector<float> send(count, static_cast<float>(number_ + 1)), recv(count);
    const auto check = [&] {
      const auto sum = static_cast<float>(size_ * (size_ + 1) / 2);
      const bool is_right = std::ranges::all_of(recv, [&](float got) { return got == sum; });
      if (!is_right) give_up("a sum is wrong");
      std::ranges::fill(recv, 0.0F);
    };
    times.ours.push_back(turn([&] {
      if (accl_allreduce(send.data(), recv.data(), count, ACCL_FLOAT32, ACCL_SUM, comm_) !=
          ACCL_SUCCESS) {
        give_up(accl_last_error(comm_));
      }
    }));
    check();
    times.theirs.push_back(turn([&] {
      MPI_Allreduce(send.data(), recv.data(), static_cast<int>(count), MPI_FLOAT, MPI_SUM,
                    MPI_COMM_WORLD);
    }));
    check();
  }

  static void print(std::size_t bytes, const Times& times) {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < times.ours.size(); ++i) {
      ratios.push_back(times.theirs[i] / times.ours[i]);
    }
    if (ratios.empty()) return;
    std::printf("%9zu %10.2f %10.2f %9.2f %6zu\n", bytes, median(times.ours), median(times.theirs),
                median(ratios), ratios.size());
  }

  int number_ = 0, size_ = 0;
  accl_comm_t* comm_ = nullptr;
};

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  const double seconds = argc > 1 ? std::atof(argv[1]) : 0;
  std::vector<std::size_t> sizes;
  for (int i = 2; i < argc; ++i) sizes.push_back(std::strtoull(argv[i], nullptr, 10) / 4 * 4);
  if (seconds <= 0 || sizes.empty() || *std::ranges::min_element(sizes) == 0) {
    std::fprintf(stderr, "mpirun -n N turns_benchmark SECONDS BYTES...: sizes from 4 on\n");
    MPI_Finalize();
    return 2;
  }
  Rank().run(seconds, sizes);
  MPI_Finalize();
  return 0;
}
