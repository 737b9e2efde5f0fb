// gloo.cc - a rank of Gloo over TCP for accl-perf --peers: sums of float.
// Usage: accl-peer-gloo SOCKET RANK SIZE FOLDER [WHERE]; ranks find each other through files in
// FOLDER. WHERE is the address or the interface whose address this rank listens at and is reached
// at: 127.0.0.1, or another one where ranks are on several hosts.
#include <fmt/format.h>
#include <gloo/allgather.h>
#include <gloo/allreduce.h>
#include <gloo/alltoall.h>
#include <gloo/barrier.h>
#include <gloo/broadcast.h>
#include <gloo/config.h>
#include <gloo/gather.h>
#include <gloo/math.h>
#include <gloo/reduce.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/file_store.h>
#include <gloo/scatter.h>
#include <gloo/transport/tcp/device.h>
#include <net/if.h>

#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "bench/peers/serve.h"

namespace {

using accl::Collective;
using accl::DataType;
using accl::ReduceOp;
using accl::peers::Order;

void sum(void* target, const void* a, const void* b, std::size_t count) {
  gloo::sum<float>(target, a, b, count);
}

gloo::transport::tcp::attr place_of(const std::string& where) {
  gloo::transport::tcp::attr place;
  (::if_nametoindex(where.c_str()) != 0 ? place.iface : place.hostname) = where;
  return place;
}

class Gloo final : public accl::peers::Library {
 public:
  Gloo(int rank, int size, const std::string& folder, const std::string& where) {
    auto context = std::make_shared<gloo::rendezvous::Context>(rank, size);
    gloo::rendezvous::FileStore store(folder);
    auto device = gloo::transport::tcp::CreateDevice(place_of(where));
    context->connectFullMesh(store, device);
    context_ = context;
  }

  std::uint32_t rank() const override { return static_cast<std::uint32_t>(context_->rank); }
  std::uint32_t size() const override { return static_cast<std::uint32_t>(context_->size); }
  std::string version() const override {
    return fmt::format("Gloo {}.{}.{}", GLOO_VERSION_MAJOR, GLOO_VERSION_MINOR, GLOO_VERSION_PATCH);
  }

  void barrier() override {
    gloo::BarrierOptions options(context_);
    gloo::barrier(options);
  }

  bool supports(const Order& order) const override {
    const auto collective = static_cast<Collective>(order.collective);
    return collective == Collective::barrier ||
           (static_cast<DataType>(order.type) == DataType::float32 && order.count != 0 &&
            static_cast<ReduceOp>(order.op) == ReduceOp::sum &&
            collective != Collective::reduce_scatter && collective != Collective::sendrecv);
  }

  void run(const Order& order, std::byte* send, std::byte* recv) override {
    auto* const from = reinterpret_cast<float*>(send);
    auto* const to = reinterpret_cast<float*>(recv);
    switch (static_cast<Collective>(order.collective)) {
      case Collective::allreduce:
        return allreduce(order, from, to);
      case Collective::reduce:
        return reduce(order, from, to);
      case Collective::broadcast:
        return broadcast(order, from, to);
      case Collective::allgather:
        return gather_all(order, from, to);
      case Collective::alltoall:
        return alltoall(order, from, to);
      case Collective::gather:
        return gather(order, from, to);
      case Collective::scatter:
        return scatter(order, from, to);
      default:
        return barrier();
    }
  }

 private:
  void allreduce(const Order& order, float* from, float* to) {
    gloo::AllreduceOptions options(context_);
    options.setInput(from, order.count);
    options.setOutput(to, order.count);
    options.setReduceFunction(sum);
    gloo::allreduce(options);
  }
  void reduce(const Order& order, float* from, float* to) {
    gloo::ReduceOptions options(context_);
    options.setInput(from, order.count);
    options.setOutput(to, order.count);
    options.setRoot(static_cast<int>(order.root));
    options.setReduceFunction(sum);
    gloo::reduce(options);
  }
  void broadcast(const Order& order, float* from, float* to) {
    gloo::BroadcastOptions options(context_);
    if (order.root == rank()) options.setInput(from, order.count);
    options.setOutput(to, order.count);
    options.setRoot(static_cast<int>(order.root));
    gloo::broadcast(options);
  }
  void gather_all(const Order& order, float* from, float* to) {
    gloo::AllgatherOptions options(context_);
    options.setInput(from, order.count);
    options.setOutput(to, order.count * size());
    gloo::allgather(options);
  }
  void alltoall(const Order& order, float* from, float* to) {
    gloo::AlltoallOptions options(context_);
    options.setInput(from, order.count * size());
    options.setOutput(to, order.count * size());
    gloo::alltoall(options);
  }
  void gather(const Order& order, float* from, float* to) {
    gloo::GatherOptions options(context_);
    options.setInput(from, order.count);
    if (order.root == rank()) options.setOutput(to, order.count * size());
    options.setRoot(static_cast<int>(order.root));
    gloo::gather(options);
  }
  void scatter(const Order& order, float* from, float* to) {
    gloo::ScatterOptions options(context_);
    std::vector<float*> blocks;
    for (std::uint32_t i = 0; i < size(); ++i) blocks.push_back(from + i * order.count);
    if (order.root == rank()) options.setInputs(blocks, order.count);
    options.setOutput(to, order.count);
    options.setRoot(static_cast<int>(order.root));
    gloo::scatter(options);
  }

  std::shared_ptr<gloo::Context> context_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5 && argc != 6) {
    fmt::print(stderr,
               "usage: {} SOCKET RANK SIZE FOLDER [ADDRESS or INTERFACE]\n"
               "accl-perf --peers starts this program and listens at SOCKET\n",
               argv[0]);
    return 2;
  }
  try {
    const std::string where = argc == 6 ? argv[5] : "127.0.0.1";
    Gloo gloo(std::stoi(argv[2]), std::stoi(argv[3]), argv[4], where);
    accl::peers::serve(gloo, argv[1]);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: {}\n", argv[0], error.what());
    return 1;
  }
  return 0;
}
