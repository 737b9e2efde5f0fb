// example.cc - the smallest program that uses ACCL from C++: gradients averaged over all ranks,
// one call a layer, all of them under way at once.
//
//   c++ -std=c++20 -o example example.cc $(pkg-config --cflags --libs accl)
//   mpirun -np 4 ./example
//
// srun and torchrun start it as well; so do two terminals:
//
//   ACCL_ROOT=127.0.0.1:29500 ACCL_WORLD_SIZE=2 ACCL_RANK=0 ./example
//   ACCL_ROOT=127.0.0.1:29500 ACCL_WORLD_SIZE=2 ACCL_RANK=1 ./example
//
// Exit status: 0 the averages are right, 1 they are not, 2 something failed (one sentence says
// what).
#include <cstdio>
#include <exception>
#include <span>
#include <vector>

#include "accl/accl.hpp"

namespace {

// Every rank starts with the same layers of rank + 1; their average is (size + 1) / 2, exactly.
int average_layers(accl::Comm& comm) {
  std::vector<std::vector<float>> layers;
  for (const std::size_t parameters : {10, 100'000, 3}) {
    layers.emplace_back(parameters, static_cast<float>(comm.rank() + 1));
  }

  std::vector<accl::Request> requests;
  for (std::vector<float>& layer : layers) {
    requests.push_back(comm.start_allreduce(std::span(layer), ACCL_AVG));
  }
  for (accl::Request& request : requests) request.wait();

  int wrong = 0;
  const float expected = static_cast<float>(comm.size() + 1) / 2;
  for (const std::vector<float>& layer : layers) {
    for (const float value : layer) wrong += value != expected ? 1 : 0;
  }
  std::printf("rank %d of %d: the average is %g, %d values are wrong\n", comm.rank(), comm.size(),
              layers[0][0], wrong);
  return wrong == 0 ? 0 : 1;
}

}  // namespace

int main() {
  try {
    accl::Comm comm = accl::Comm::from_environment();
    return average_layers(comm);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "example: %s\n", error.what());
    return 2;
  }
}
