// mpi.cc - a rank of Open MPI or MPICH for accl-perf --peers; the same source for both, built
// against each one's headers. Usage: mpirun ... accl-peer-X SOCKET
#include <fmt/format.h>
#include <mpi.h>

#include <exception>
#include <stdexcept>

#include "bench/peers/serve.h"

namespace {

using accl::Collective;
using accl::DataType;
using accl::ReduceOp;
using accl::peers::Order;

MPI_Datatype mpi_type(DataType type) {
  switch (type) {
    case DataType::int8:
      return MPI_INT8_T;
    case DataType::uint8:
      return MPI_UINT8_T;
    case DataType::int32:
      return MPI_INT32_T;
    case DataType::uint32:
      return MPI_UINT32_T;
    case DataType::int64:
      return MPI_INT64_T;
    case DataType::uint64:
      return MPI_UINT64_T;
    case DataType::float32:
      return MPI_FLOAT;
    case DataType::float64:
      return MPI_DOUBLE;
    default:
      break;
  }
  return MPI_DATATYPE_NULL;  // Half types: MPI has none.
}

MPI_Op mpi_op(ReduceOp op) {
  switch (op) {
    case ReduceOp::sum:
      return MPI_SUM;
    case ReduceOp::prod:
      return MPI_PROD;
    case ReduceOp::max:
      return MPI_MAX;
    case ReduceOp::min:
      return MPI_MIN;
    default:
      break;
  }
  return MPI_OP_NULL;
}

// MPI's default error handler ends the job; a count it cannot express is ours to refuse.
int narrow(std::uint64_t count) {
  if (count > INT32_MAX) throw std::runtime_error("a count beyond MPI's int");
  return static_cast<int>(count);
}

class Mpi final : public accl::peers::Library {
 public:
  Mpi() {
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
  }

  std::uint32_t rank() const override { return static_cast<std::uint32_t>(rank_); }
  std::uint32_t size() const override { return static_cast<std::uint32_t>(size_); }
  std::string version() const override {
    char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
    int length = 0;
    MPI_Get_library_version(text, &length);
    const std::string all(text);
    return all.substr(0, all.find_first_of(",\n"));
  }

  void barrier() override { MPI_Barrier(MPI_COMM_WORLD); }

  bool supports(const Order& order) const override {
    const auto collective = static_cast<Collective>(order.collective);
    const bool reduces = collective == Collective::allreduce || collective == Collective::reduce ||
                         collective == Collective::reduce_scatter;
    return mpi_type(static_cast<DataType>(order.type)) != MPI_DATATYPE_NULL &&
           (!reduces || mpi_op(static_cast<ReduceOp>(order.op)) != MPI_OP_NULL);
  }

  void run(const Order& order, std::byte* send, std::byte* recv) override {
    const int count = narrow(order.count);
    const int root = static_cast<int>(order.root);
    const MPI_Datatype type = mpi_type(static_cast<DataType>(order.type));
    const MPI_Op op = mpi_op(static_cast<ReduceOp>(order.op));
    const MPI_Comm all = MPI_COMM_WORLD;
    switch (static_cast<Collective>(order.collective)) {
      case Collective::allreduce:
        MPI_Allreduce(send, recv, count, type, op, all);
        break;
      case Collective::reduce_scatter:
        MPI_Reduce_scatter_block(send, recv, count, type, op, all);
        break;
      case Collective::allgather:
        MPI_Allgather(send, count, type, recv, count, type, all);
        break;
      case Collective::broadcast:
        MPI_Bcast(send, count, type, root, all);
        break;
      case Collective::reduce:
        MPI_Reduce(send, recv, count, type, op, root, all);
        break;
      case Collective::alltoall:
        MPI_Alltoall(send, count, type, recv, count, type, all);
        break;
      case Collective::gather:
        MPI_Gather(send, count, type, recv, count, type, root, all);
        break;
      case Collective::scatter:
        MPI_Scatter(send, count, type, recv, count, type, root, all);
        break;
      case Collective::barrier:
        MPI_Barrier(all);
        break;
      case Collective::sendrecv:
        MPI_Sendrecv(send, count, type, (rank_ + 1) % size_, 0, recv, count, type,
                     (rank_ + size_ - 1) % size_, 0, all, MPI_STATUS_IGNORE);
        break;
      case Collective::alltoallv:
        break;  // accl-perf has no such table.
    }
  }

 private:
  int rank_ = 0;
  int size_ = 1;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "{}: accl-perf --peers starts this program, with a socket's path\n",
               argv[0]);
    return 2;
  }
  MPI_Init(&argc, &argv);
  try {
    Mpi mpi;
    accl::peers::serve(mpi, argv[1]);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: {}\n", argv[0], error.what());
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  MPI_Finalize();
  return 0;
}
