// fabric.h - one UCX context and worker: what all channels of a transport send and receive through,
// and what they share. One thread at a time drives it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "transport/ucx/api.h"

namespace accl::ucx {

class Fabric {
 public:
  // Throws Error (system) that says which part of UCX does not work here.
  explicit Fabric(const std::string& library);
  Fabric(const Fabric&) = delete;
  Fabric& operator=(const Fabric&) = delete;
  ~Fabric();

  const Api& api() const { return api_; }
  ucp_worker_h worker() const { return worker_; }
  // What a peer makes its endpoint from.
  std::span<const std::byte> address() const;
  int event_fd() const { return event_fd_; }

  // Calls `callback` from within progress() for every note that comes.
  void receive(ucp_am_recv_callback_t callback, void* argument);

  // Drives UCX until nothing more happens at once, or for as long as is fair.
  void progress();
  // UCX has nothing left to do and will say so through event_fd() when it has.
  bool arm();

  const char* words(ucs_status_t status) const { return api_.status_string(status); }

  std::uint32_t under_way = 0;  // Operations that UCX has not ended.
  bool armed = false;
  bool news = false;  // Something for the caller to look at before it sleeps.

 private:
  void check(ucs_status_t status, const char* what) const;
  void make_context();
  void make_worker();
  void close();

  Api api_;
  ucp_context_h context_ = nullptr;
  ucp_worker_h worker_ = nullptr;
  ucp_address_t* address_ = nullptr;
  std::size_t address_bytes_ = 0;
  int event_fd_ = -1;  // The worker's own.
};

}  // namespace accl::ucx
