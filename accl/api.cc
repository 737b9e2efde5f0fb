// api.cc - accl.h over the C++ classes: every Error becomes a result and a text to ask for.
#include <algorithm>
#include <cstring>
#include <mutex>
#include <new>
#include <string>
#include <vector>

#include "accl/accl.h"
#include "accl/base/error.h"
#include "accl/bootstrap/unique_id.h"
#include "accl/communicator.h"
#include "accl/heap.h"
#include "accl/launch.h"
#include "accl/scalars.h"

using accl::Call;
using accl::Collective;
using accl::ErrorKind;

namespace {

// A user's own operation: premultiplied sum.
struct UserOp {
  bool is_used = false;
  accl::DataType type{};
  double factor = 1;
  std::int64_t integer_factor = 1;
};
constexpr int first_user_op = 5;

thread_local std::string thread_error;

}  // namespace

struct accl_comm {
  std::unique_ptr<accl::Communicator> communicator;
  mutable std::mutex mutex;  // For what is below.
  std::string last_error;
  std::vector<UserOp> ops;
};

struct accl_request {
  accl_comm* comm = nullptr;
  std::unique_ptr<accl::StartedCall> request;
};

struct accl_registration {
  std::unique_ptr<accl::RegisteredMemory> memory;
};

namespace {

void remember(accl_comm* comm, const char* text) {
  if (comm == nullptr) {
    thread_error = text;
    return;
  }
  const std::lock_guard lock(comm->mutex);
  comm->last_error = text;
}

// Runs `body`; an Error becomes its result, with its text kept at `comm` (or for this thread).
template <class Body>
accl_result_t guarded(accl_comm* comm, Body&& body) {
  try {
    body();
    return ACCL_SUCCESS;
  } catch (const accl::Error& error) {
    remember(comm, error.what());
    return static_cast<accl_result_t>(error.kind());
  } catch (const std::bad_alloc&) {
    remember(comm, "out of memory");
  } catch (const std::exception& error) {
    remember(comm, error.what());
  }
  return ACCL_SYSTEM_ERROR;
}

template <class Pointer>
void require(const Pointer* pointer, const char* what) {
  if (pointer == nullptr) accl::fail(ErrorKind::invalid_argument, "{} is NULL", what);
}

accl::DataType data_type(accl_data_type_t type) {
  if (static_cast<unsigned>(type) >= accl::data_type_count) {
    accl::fail(ErrorKind::invalid_argument, "no data type {}; they are 0 to {}",
               static_cast<int>(type), accl::data_type_count - 1);
  }
  return static_cast<accl::DataType>(type);
}

void set_op(Call& call, const accl_comm& comm, accl_op_t op) {
  const int number = static_cast<int>(op);
  if (number >= 0 && number < first_user_op) {
    call.op = static_cast<accl::ReduceOp>(number);
    return;
  }
  const std::lock_guard lock(comm.mutex);
  const auto at = static_cast<std::size_t>(number - first_user_op);
  if (number < 0 || at >= comm.ops.size() || !comm.ops[at].is_used) {
    accl::fail(ErrorKind::invalid_argument,
               "no reduction operation {} on this communicator; make it with "
               "accl_op_create_premul_sum",
               number);
  }
  if (comm.ops[at].type != call.type) {
    accl::fail(ErrorKind::invalid_argument, "operation {} was made for {}, not for {}", number,
               name_of(comm.ops[at].type), name_of(call.type));
  }
  call.op = accl::ReduceOp::premul_sum;
  call.scalar = comm.ops[at].factor;
  call.integer_scalar = comm.ops[at].integer_factor;
}

Call make_call(Collective collective, const void* send, void* recv, std::size_t count,
               accl_data_type_t type, int root = 0) {
  if (root < 0) {
    accl::fail(ErrorKind::invalid_argument, "{}: no root {}", name_of(collective), root);
  }
  return {.collective = collective,
          .send = send,
          .recv = recv,
          .count = count,
          .type = data_type(type),
          .root = accl::Rank{static_cast<std::uint32_t>(root)}};
}

Call make_reduction(const accl_comm& comm, Collective collective, const void* send, void* recv,
                    std::size_t count, accl_data_type_t type, accl_op_t op, int root = 0) {
  Call call = make_call(collective, send, recv, count, type, root);
  set_op(call, comm, op);
  return call;
}

// Runs what `make` describes.
template <class Make>
accl_result_t run(accl_comm* comm, Make&& make) {
  return guarded(comm, [&] {
    require(comm, "the communicator");
    comm->communicator->run(make());
  });
}

template <class Make>
accl_result_t start(accl_comm* comm, accl_request** request, Make&& make) {
  return guarded(comm, [&] {
    require(comm, "the communicator");
    require(request, "the place for the request");
    *request = new accl_request{comm, comm->communicator->start(make())};
  });
}

accl::LaunchOptions launch_options(const accl_config_t* config) {
  accl::LaunchOptions options;
  if (config == nullptr) return options;
  accl_config_t known{};
  std::memcpy(&known, config, std::min(config->size, sizeof known));
  if (known.algorithm != nullptr) options.communicator.algorithm = known.algorithm;
  if (known.transport != nullptr) options.communicator.transport = known.transport;
  if (known.timeout_ms < 0) {
    accl::fail(ErrorKind::invalid_argument, "timeout_ms is {}; give milliseconds, or 0",
               known.timeout_ms);
  }
  if (known.timeout_ms > 0) options.timeout = accl::Milliseconds(known.timeout_ms);
  return options;
}

}  // namespace

extern "C" {

const char* accl_version(void) { return accl::version; }

const char* accl_result_name(accl_result_t result) {
  constexpr const char* names[] = {"success",      "invalid argument", "invalid usage",
                                   "system error", "remote error",     "time-out",
                                   "aborted"};
  const auto at = static_cast<std::size_t>(result);
  return at < std::size(names) ? names[at] : "unknown result";
}

const char* accl_last_error(const accl_comm_t* comm) {
  if (comm == nullptr) return thread_error.c_str();
  const std::lock_guard lock(comm->mutex);
  thread_error = comm->last_error;
  return thread_error.c_str();
}

accl_result_t accl_get_unique_id(accl_unique_id_t* id) {
  return guarded(nullptr, [&] {
    require(id, "the id");
    const accl::UniqueId made = accl::make_unique_id();
    std::memcpy(id->bytes, made.bytes.data(), sizeof id->bytes);
  });
}

accl_result_t accl_comm_create(accl_comm_t** comm, int size, const accl_unique_id_t* id, int rank,
                               const accl_config_t* config) {
  return guarded(nullptr, [&] {
    require(comm, "the place for the communicator");
    require(id, "the id");
    if (size < 1 || rank < 0 || rank >= size) {
      accl::fail(ErrorKind::invalid_argument, "rank {} of {}: ranks are 0 to size-1", rank, size);
    }
    accl::UniqueId made;
    std::memcpy(made.bytes.data(), id->bytes, sizeof id->bytes);
    auto whole = std::make_unique<accl_comm>();
    whole->communicator = accl::launch(made, accl::Rank{static_cast<std::uint32_t>(rank)},
                                       static_cast<std::uint32_t>(size), launch_options(config));
    *comm = whole.release();
  });
}

accl_result_t accl_comm_create_from_environment(accl_comm_t** comm, const accl_config_t* config) {
  return guarded(nullptr, [&] {
    require(comm, "the place for the communicator");
    auto whole = std::make_unique<accl_comm>();
    whole->communicator = accl::launch_from_environment(launch_options(config));
    *comm = whole.release();
  });
}

accl_result_t accl_comm_split(accl_comm_t* comm, int color, int key, accl_comm_t** newcomm) {
  return guarded(comm, [&] {
    require(comm, "the communicator");
    require(newcomm, "the place for the new communicator");
    auto part = comm->communicator->split(color, key);
    *newcomm = nullptr;
    if (part == nullptr) return;
    auto whole = std::make_unique<accl_comm>();
    whole->communicator = std::move(part);
    *newcomm = whole.release();
  });
}

accl_result_t accl_comm_abort(accl_comm_t* comm) {
  return guarded(comm, [&] {
    if (comm != nullptr) comm->communicator->abort();
  });
}

accl_result_t accl_comm_destroy(accl_comm_t* comm) {
  return guarded(nullptr, [&] { delete comm; });
}

accl_result_t accl_comm_rank(const accl_comm_t* comm, int* rank) {
  return guarded(nullptr, [&] {
    require(comm, "the communicator");
    require(rank, "the place for the rank");
    *rank = static_cast<int>(index(comm->communicator->rank()));
  });
}

accl_result_t accl_comm_size(const accl_comm_t* comm, int* size) {
  return guarded(nullptr, [&] {
    require(comm, "the communicator");
    require(size, "the place for the size");
    *size = static_cast<int>(comm->communicator->size());
  });
}

accl_result_t accl_allreduce(const void* send, void* recv, size_t count, accl_data_type_t type,
                             accl_op_t op, accl_comm_t* comm) {
  return run(comm, [&] {
    return make_reduction(*comm, Collective::allreduce, send, recv, count, type, op);
  });
}

accl_result_t accl_reduce_scatter(const void* send, void* recv, size_t count, accl_data_type_t type,
                                  accl_op_t op, accl_comm_t* comm) {
  return run(comm, [&] {
    return make_reduction(*comm, Collective::reduce_scatter, send, recv, count, type, op);
  });
}

accl_result_t accl_allgather(const void* send, void* recv, size_t count, accl_data_type_t type,
                             accl_comm_t* comm) {
  return run(comm, [&] { return make_call(Collective::allgather, send, recv, count, type); });
}

accl_result_t accl_broadcast(const void* send, void* recv, size_t count, accl_data_type_t type,
                             int root, accl_comm_t* comm) {
  return run(comm, [&] { return make_call(Collective::broadcast, send, recv, count, type, root); });
}

accl_result_t accl_reduce(const void* send, void* recv, size_t count, accl_data_type_t type,
                          accl_op_t op, int root, accl_comm_t* comm) {
  return run(comm, [&] {
    return make_reduction(*comm, Collective::reduce, send, recv, count, type, op, root);
  });
}

accl_result_t accl_alltoall(const void* send, void* recv, size_t count, accl_data_type_t type,
                            accl_comm_t* comm) {
  return run(comm, [&] { return make_call(Collective::alltoall, send, recv, count, type); });
}

accl_result_t accl_alltoallv(const void* send, const size_t* send_counts,
                             const size_t* send_offsets, void* recv, const size_t* recv_counts,
                             const size_t* recv_offsets, accl_data_type_t type, accl_comm_t* comm) {
  return run(comm, [&] {
    for (const size_t* list : {send_counts, send_offsets, recv_counts, recv_offsets}) {
      require(list, "a list of counts or offsets");
    }
    Call call = make_call(Collective::alltoallv, send, recv, 0, type);
    const std::size_t size = comm->communicator->size();
    call.send_counts = {send_counts, size};
    call.send_offsets = {send_offsets, size};
    call.recv_counts = {recv_counts, size};
    call.recv_offsets = {recv_offsets, size};
    return call;
  });
}

accl_result_t accl_gather(const void* send, void* recv, size_t count, accl_data_type_t type,
                          int root, accl_comm_t* comm) {
  return run(comm, [&] { return make_call(Collective::gather, send, recv, count, type, root); });
}

accl_result_t accl_scatter(const void* send, void* recv, size_t count, accl_data_type_t type,
                           int root, accl_comm_t* comm) {
  return run(comm, [&] { return make_call(Collective::scatter, send, recv, count, type, root); });
}

accl_result_t accl_barrier(accl_comm_t* comm) {
  return run(comm, [&] { return make_call(Collective::barrier, nullptr, nullptr, 0, ACCL_UINT8); });
}

accl_result_t accl_send(const void* send, size_t count, accl_data_type_t type, int peer,
                        accl_comm_t* comm) {
  return run(comm, [&] {
    Call call = make_call(Collective::sendrecv, send, nullptr, count, type);
    call.to = peer;
    call.from = -1;
    return call;
  });
}

accl_result_t accl_recv(void* recv, size_t count, accl_data_type_t type, int peer,
                        accl_comm_t* comm) {
  return run(comm, [&] {
    Call call = make_call(Collective::sendrecv, nullptr, recv, 0, type);
    call.to = -1;
    call.from = peer;
    call.recv_count = count;
    return call;
  });
}

accl_result_t accl_sendrecv(const void* send, size_t send_count, int to, void* recv,
                            size_t recv_count, int from, accl_data_type_t type, accl_comm_t* comm) {
  return run(comm, [&] {
    Call call = make_call(Collective::sendrecv, send, recv, send_count, type);
    call.to = to;
    call.from = from;
    call.recv_count = recv_count;
    return call;
  });
}

accl_result_t accl_allreduce_start(const void* send, void* recv, size_t count,
                                   accl_data_type_t type, accl_op_t op, accl_comm_t* comm,
                                   accl_request_t** request) {
  return start(comm, request, [&] {
    return make_reduction(*comm, Collective::allreduce, send, recv, count, type, op);
  });
}

accl_result_t accl_reduce_scatter_start(const void* send, void* recv, size_t count,
                                        accl_data_type_t type, accl_op_t op, accl_comm_t* comm,
                                        accl_request_t** request) {
  return start(comm, request, [&] {
    return make_reduction(*comm, Collective::reduce_scatter, send, recv, count, type, op);
  });
}

accl_result_t accl_allgather_start(const void* send, void* recv, size_t count,
                                   accl_data_type_t type, accl_comm_t* comm,
                                   accl_request_t** request) {
  return start(comm, request,
               [&] { return make_call(Collective::allgather, send, recv, count, type); });
}

accl_result_t accl_broadcast_start(const void* send, void* recv, size_t count,
                                   accl_data_type_t type, int root, accl_comm_t* comm,
                                   accl_request_t** request) {
  return start(comm, request,
               [&] { return make_call(Collective::broadcast, send, recv, count, type, root); });
}

accl_result_t accl_wait(accl_request_t* request) {
  accl_comm* const comm = request != nullptr ? request->comm : nullptr;
  return guarded(comm, [&] {
    require(request, "the request");
    const std::unique_ptr<accl_request> owned(request);
    owned->request->wait();
  });
}

accl_result_t accl_test(accl_request_t* request, int* done) {
  accl_comm* const comm = request != nullptr ? request->comm : nullptr;
  return guarded(comm, [&] {
    require(request, "the request");
    require(done, "the place for the answer");
    *done = 1;  // An Error ends the request, too.
    std::unique_ptr<accl_request> owned(request);
    if (owned->request->test()) return;
    *done = 0;
    [[maybe_unused]] const auto* const kept = owned.release();
  });
}

accl_result_t accl_alloc(void** memory, size_t bytes) {
  return guarded(nullptr, [&] {
    require(memory, "the place for the memory");
    *memory = accl::process_heap().allocate(bytes);
  });
}

accl_result_t accl_free(void* memory) {
  return guarded(nullptr, [&] {
    if (memory != nullptr) accl::process_heap().free(memory);
  });
}

accl_result_t accl_register(accl_comm_t* comm, void* memory, size_t bytes,
                            accl_registration_t** registration) {
  return guarded(comm, [&] {
    require(comm, "the communicator");
    require(registration, "the place for the registration");
    auto whole = std::make_unique<accl_registration>();
    whole->memory = comm->communicator->add({static_cast<std::byte*>(memory), bytes});
    *registration = whole.release();
  });
}

accl_result_t accl_deregister(accl_registration_t* registration) {
  return guarded(nullptr, [&] {
    if (registration == nullptr) return;
    registration->memory->end();
    delete registration;
  });
}

accl_result_t accl_op_create_premul_sum(accl_op_t* op, const void* scalar, accl_data_type_t type,
                                        accl_comm_t* comm) {
  return guarded(comm, [&] {
    require(comm, "the communicator");
    require(op, "the place for the operation");
    require(scalar, "the scalar");
    UserOp made{.is_used = true, .type = data_type(type)};
    made.factor = accl::scalar_as_double(scalar, made.type);
    made.integer_factor = accl::scalar_as_integer(scalar, made.type);
    const std::lock_guard lock(comm->mutex);
    auto place = std::ranges::find(comm->ops, false, &UserOp::is_used);
    if (place == comm->ops.end()) place = comm->ops.insert(place, UserOp{});
    *place = made;
    *op = static_cast<accl_op_t>(first_user_op + (place - comm->ops.begin()));
  });
}

accl_result_t accl_op_destroy(accl_op_t op, accl_comm_t* comm) {
  return guarded(comm, [&] {
    require(comm, "the communicator");
    const std::lock_guard lock(comm->mutex);
    const auto at = static_cast<std::size_t>(static_cast<int>(op) - first_user_op);
    if (at >= comm->ops.size() || !comm->ops[at].is_used) {
      accl::fail(ErrorKind::invalid_argument, "no operation {} to destroy", static_cast<int>(op));
    }
    comm->ops[at].is_used = false;
  });
}

}  // extern "C"
