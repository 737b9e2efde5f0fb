// accl.hpp - the C++ interface: accl.h with owners, exceptions and typed spans. Header only; link
// with -laccl. See accl.h for what each call means.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

#include "accl/accl.h"

namespace accl {

// What a call failed with; result() tells the kind, what() names the cause.
class Failure : public std::runtime_error {
 public:
  Failure(accl_result_t result, const std::string& text)
      : std::runtime_error(text), result_(result) {}
  accl_result_t result() const { return result_; }

 private:
  accl_result_t result_;
};

inline void check(accl_result_t result, const accl_comm_t* comm = nullptr) {
  if (result != ACCL_SUCCESS) throw Failure(result, accl_last_error(comm));
}

// The data type of a C++ arithmetic type. Half types have no C++20 type: use accl.h for them.
template <class T>
constexpr accl_data_type_t data_type_of() {
  static_assert(std::is_arithmetic_v<T>, "no data type for this element type");
  if constexpr (std::is_same_v<T, float>) return ACCL_FLOAT32;
  if constexpr (std::is_same_v<T, double>) return ACCL_FLOAT64;
  constexpr bool is_signed = std::is_signed_v<T>;
  if constexpr (sizeof(T) == 1) return is_signed ? ACCL_INT8 : ACCL_UINT8;
  if constexpr (sizeof(T) == 4) return is_signed ? ACCL_INT32 : ACCL_UINT32;
  if constexpr (sizeof(T) == 8) return is_signed ? ACCL_INT64 : ACCL_UINT64;
}

// A started call. Waits in the destructor if nobody did; errors are then lost.
class Request {
 public:
  explicit Request(accl_request_t* request) : request_(request) {}
  Request(Request&& other) noexcept : request_(std::exchange(other.request_, nullptr)) {}
  Request& operator=(Request&& other) noexcept {
    std::swap(request_, other.request_);
    return *this;
  }
  ~Request() {
    if (request_ != nullptr) accl_wait(request_);
  }

  void wait() { check(accl_wait(std::exchange(request_, nullptr))); }
  // True once the call is done.
  bool test() {
    if (request_ == nullptr) return true;
    int done = 1;
    const accl_result_t result = accl_test(request_, &done);
    if (done != 0) request_ = nullptr;
    check(result);
    return done != 0;
  }

 private:
  accl_request_t* request_ = nullptr;
};

// Memory that is registered (accl_register), until this goes: before the memory does.
class Registration {
 public:
  explicit Registration(accl_registration_t* registration) : registration_(registration) {}
  Registration(Registration&& other) noexcept
      : registration_(std::exchange(other.registration_, nullptr)) {}
  Registration& operator=(Registration&& other) noexcept {
    std::swap(registration_, other.registration_);
    return *this;
  }
  // Where a started call uses the memory it stays registered as long as the communicator lives.
  ~Registration() { accl_deregister(registration_); }

  void end() {
    check(accl_deregister(registration_));
    registration_ = nullptr;
  }

 private:
  accl_registration_t* registration_ = nullptr;
};

// A communicator. Spans give the counts; where a span's size must follow from another's, a wrong
// one throws std::invalid_argument before anything moves.
class Comm {
 public:
  // Rank and size as the launcher says.
  static Comm from_environment(const accl_config_t* config = nullptr) {
    accl_comm_t* comm = nullptr;
    check(accl_comm_create_from_environment(&comm, config));
    return Comm(comm);
  }
  Comm(int size, const accl_unique_id_t& id, int rank, const accl_config_t* config = nullptr) {
    accl_comm_t* comm = nullptr;
    check(accl_comm_create(&comm, size, &id, rank, config));
    comm_.reset(comm);
  }

  int rank() const {
    int rank = 0;
    check(accl_comm_rank(comm_.get(), &rank));
    return rank;
  }
  int size() const {
    int size = 0;
    check(accl_comm_size(comm_.get(), &size));
    return size;
  }
  accl_comm_t* get() const { return comm_.get(); }

  // recv becomes the reduction of every rank's send.
  template <class T>
  void allreduce(std::span<const T> send, std::span<T> recv, accl_op_t op = ACCL_SUM) {
    require(send.size() == recv.size(), "allreduce: send and recv differ in size");
    checked(accl_allreduce(send.data(), recv.data(), send.size(), data_type_of<T>(), op, get()));
  }
  template <class T>
  void allreduce(std::span<T> in_place, accl_op_t op = ACCL_SUM) {
    allreduce(std::span<const T>(in_place), in_place, op);
  }
  template <class T>
  Request start_allreduce(std::span<T> in_place, accl_op_t op = ACCL_SUM) {
    accl_request_t* request = nullptr;
    checked(accl_allreduce_start(in_place.data(), in_place.data(), in_place.size(),
                                 data_type_of<T>(), op, get(), &request));
    return Request(request);
  }
  // send holds size() blocks as large as recv.
  template <class T>
  void reduce_scatter(std::span<const T> send, std::span<T> recv, accl_op_t op = ACCL_SUM) {
    require_blocks(send.size(), recv.size(), "reduce_scatter: send");
    checked(
        accl_reduce_scatter(send.data(), recv.data(), recv.size(), data_type_of<T>(), op, get()));
  }
  // recv holds size() blocks as large as send.
  template <class T>
  void allgather(std::span<const T> send, std::span<T> recv) {
    require_blocks(recv.size(), send.size(), "allgather: recv");
    checked(accl_allgather(send.data(), recv.data(), send.size(), data_type_of<T>(), get()));
  }
  template <class T>
  void broadcast(std::span<T> data, int root) {
    checked(accl_broadcast(data.data(), data.data(), data.size(), data_type_of<T>(), root, get()));
  }
  template <class T>
  void reduce(std::span<const T> send, std::span<T> recv, int root, accl_op_t op = ACCL_SUM) {
    require(rank() != root || send.size() == recv.size(), "reduce: send and recv differ in size");
    checked(accl_reduce(send.data(), recv.data(), send.size(), data_type_of<T>(), op, root, get()));
  }
  template <class T>
  void alltoall(std::span<const T> send, std::span<T> recv) {
    const auto ranks = static_cast<std::size_t>(size());
    require(send.size() == recv.size() && send.size() % ranks == 0,
            "alltoall: send and recv must be equal, a multiple of the ranks");
    checked(accl_alltoall(send.data(), recv.data(), send.size() / ranks, data_type_of<T>(), get()));
  }
  void barrier() { checked(accl_barrier(get())); }

  // Large messages of this memory are sent from where it lies, over networks that can.
  template <class T>
  Registration register_memory(std::span<T> memory) {
    static_assert(!std::is_const_v<T>, "devices may write to registered memory");
    accl_registration_t* registration = nullptr;
    checked(accl_register(get(), memory.data(), memory.size_bytes(), &registration));
    return Registration(registration);
  }

  // An empty Comm (get() == nullptr) for a negative colour.
  Comm split(int color, int key) {
    accl_comm_t* part = nullptr;
    checked(accl_comm_split(get(), color, key, &part));
    return Comm(part);
  }
  void abort() { checked(accl_comm_abort(get())); }

 private:
  struct Destroy {
    void operator()(accl_comm_t* comm) const { accl_comm_destroy(comm); }
  };
  explicit Comm(accl_comm_t* comm) : comm_(comm) {}

  void checked(accl_result_t result) const { check(result, get()); }
  static void require(bool holds, const char* text) {
    if (!holds) throw std::invalid_argument(text);
  }
  void require_blocks(std::size_t whole, std::size_t block, const std::string& what) const {
    const std::size_t wanted = block * static_cast<std::size_t>(size());
    require(whole == wanted, (what + " must hold one block per rank").c_str());
  }

  std::unique_ptr<accl_comm_t, Destroy> comm_;
};

}  // namespace accl
