// machine.h - what this machine can do at best, measured in under three seconds: the figures that
// times of collectives are to be read beside.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace accl::perf {

struct Limits {
  double copy_cached_gbps = 0;     // memcpy of 256 KiB that stays in cache. GB/s of bytes copied.
  double copy_memory_gbps = 0;     // memcpy between buffers of 64 MiB.
  double copy_streaming_gbps = 0;  // The same with streaming stores.
  double ping_pong_ns = 0;         // One way of a cache line between two cores; 0 with one core.
  // Messages of 128 KiB copied into memory of two cores and out of it, both ways at once; GB/s each
  // way. Two ranks that reduce D bytes through shared memory need at least D / this.
  double core_gbps = 0;
  double yield_us = 0;     // sched_yield from a process to another on the same core.
  double futex_us = 0;     // From futex wake to the woken thread running, another core.
  double socket_gbps = 0;  // One TCP stream over loopback, Gbit/s.
  double socket_us = 0;    // One way of 8 bytes over it.
};

Limits measure_limits();

// '#' lines for the table's header.
std::string limits_text(const Limits& limits);
nlohmann::ordered_json limits_json(const Limits& limits);

// Cores this thread may run on, and a way to have it run on one of them only. Where that is not
// permitted nothing happens: figures are noisier, not wrong.
std::vector<int> allowed_cores();
void bind_to(int core);

}  // namespace accl::perf
