// identity.h - who and where this process is, and random numbers nobody can guess.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "accl/bootstrap/wire.h"

namespace accl::bootstrap {

std::string host_name();

// Equal for processes that reach each other by shared memory and unix sockets: same boot of the
// same kernel, same network namespace. ACCL_HOST_ID, where set, takes the place of all that.
std::uint64_t host_id();

// Equal for processes that share cores: same boot of the same kernel. ACCL_HOST_ID has no say in
// it, for the cores stay the same ones.
std::uint64_t kernel_id();

// Equal for processes that see each other under the same pids.
std::uint64_t pid_space();

// What /proc says of a process in our pid space; empty name where it says nothing.
struct Process {
  std::string name;
  char state = '?';  // As in proc(5): R, S, D run or wait, T and t are stopped, Z and X are dead.
  long parent = 0;
  std::string started;
};
Process look_up_process(long pid);

// From the kernel. Throws Error(system) where it has none to give.
Secret random_secret();

// Letters that name a socket: "accl-" and 32 random hexadecimal digits.
std::string random_name();

// A secret as good as the text is secret; the same wherever the text is.
Secret derived_secret(std::string_view text);

}  // namespace accl::bootstrap
