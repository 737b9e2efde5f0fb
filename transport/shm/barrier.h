// barrier.h - who pays for "I store, then look at yours" between a sender and a sleeper. Normally
// both sides need a full fence. Where the kernel has membarrier(2), the sleeper, who has time,
// makes every running peer pass one, and the sender's fence costs nothing.
#pragma once

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

namespace accl {

// Lets sleepers of other processes fence this one. False where the kernel cannot.
inline bool register_global_barrier() {
  return ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0;
}

// The sender's side, between its store and its look at the sleeper's flag.
inline void store_load_fence(bool cheap) {
  if (cheap) {
    std::atomic_signal_fence(std::memory_order_seq_cst);
  } else {
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
}

// The sleeper's side, between setting its flag and its last look.
inline void sleeper_fence(bool barrier_works) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (barrier_works) ::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0);
}

}  // namespace accl
