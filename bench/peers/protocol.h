// protocol.h - what accl-perf and the ranks of a peer library say to each other. Every rank of a
// peer has a unix socket to accl-perf and sleeps in read() while others are measured: a rank that
// waited inside its library would spin, and take the cores from who is measured.
//
// A rank connects, sends a Greeting, then answers each Order with an Answer and its `batches`
// doubles: seconds per iteration of each batch. End of file means: finish and exit.
#pragma once

#include <cstdint>

namespace accl::peers {

struct Greeting {
  std::uint32_t rank = 0;
  std::uint32_t size = 0;
  char version[112] = {};  // Of the library, with a final zero.
};

struct Order {
  std::uint32_t collective = 0;  // accl::Collective, DataType, ReduceOp by number.
  std::uint32_t type = 0;
  std::uint32_t op = 0;
  std::uint32_t root = 0;
  std::uint64_t count = 0;  // As in accl.h.
  std::uint64_t warmup = 0;
  std::uint64_t iterations = 0;
  std::uint64_t batch = 1;
};

struct Answer {
  enum class Status : std::uint32_t { good, unsupported, wrong };

  Status status = Status::good;
  std::uint32_t reserved = 0;
  std::uint64_t batches = 0;
};

}  // namespace accl::peers
