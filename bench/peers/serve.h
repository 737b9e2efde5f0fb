// serve.h - the part of a peer program that does not depend on the library it measures.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "accl/base/types.h"
#include "bench/peers/protocol.h"

namespace accl::peers {

// One rank of a peer library, ready to run.
class Library {
 public:
  virtual ~Library() = default;

  virtual std::uint32_t rank() const = 0;
  virtual std::uint32_t size() const = 0;
  virtual std::string version() const = 0;

  virtual void barrier() = 0;
  // Whether run() can do this order's collective, type and operation.
  virtual bool supports(const Order& order) const = 0;
  // One blocking call, out of place.
  virtual void run(const Order& order, std::byte* send, std::byte* recv) = 0;
};

// Connects to accl-perf at this unix socket and serves until it hangs up. Throws std::exception.
void serve(Library& library, const std::string& path);

}  // namespace accl::peers
