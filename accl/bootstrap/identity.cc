#include "accl/bootstrap/identity.h"

#include <sys/random.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>

#include "accl/base/error.h"
#include "accl/base/units.h"

namespace accl::bootstrap {
namespace {

std::string boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  if (std::getline(file, id) && !id.empty()) return id;
  return host_name();  // Without /proc the host's name must do.
}

std::string link_target(const char* path) {
  char target[128];
  const ssize_t bytes = readlink(path, target, sizeof target);
  return bytes > 0 ? std::string(target, static_cast<std::size_t>(bytes)) : "";
}

std::uint64_t place_id(const char* name_space) {
  // Tests play several hosts on one; these must not see each other's pids either.
  const std::string override = environment_text("ACCL_HOST_ID");
  if (!override.empty()) return hash_text(override, hash_text(name_space));
  return hash_text(link_target(name_space), hash_text(boot_id()));
}

}  // namespace

std::string host_name() {
  char name[256] = "";
  if (gethostname(name, sizeof name - 1) != 0 || name[0] == '\0') return "unknown-host";
  return name;
}

std::uint64_t host_id() { return place_id("/proc/self/ns/net"); }

std::uint64_t kernel_id() { return hash_text(boot_id()); }

std::uint64_t pid_space() { return place_id("/proc/self/ns/pid"); }

Process look_up_process(long pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string line;
  std::getline(file, line);
  const std::size_t open = line.find('(');
  const std::size_t close = line.rfind(')');  // A name may hold brackets itself.
  Process process;
  if (open == std::string::npos || close == std::string::npos || close < open) return process;
  process.name = line.substr(open + 1, close - open - 1);
  std::istringstream rest(line.substr(close + 1));
  rest >> process.state >> process.parent;
  constexpr int fields_between = 17;  // The start is field 22, the parent field 4.
  for (int i = 0; i < fields_between + 1; ++i) rest >> process.started;
  return process;
}

Secret random_secret() {
  Secret secret{};
  ssize_t got = -1;
  do {
    got = getrandom(secret.data(), secret.size(), 0);
  } while (got < 0 && errno == EINTR);
  if (got != static_cast<ssize_t>(secret.size())) fail_system("cannot get random numbers", errno);
  return secret;
}

std::string random_name() {
  std::string name = "accl-";
  const Secret random = random_secret();
  for (std::size_t i = 0; i < 16; ++i) name += fmt::format("{:02x}", random[i]);
  return name;
}

Secret derived_secret(std::string_view text) {
  Secret secret{};
  for (std::size_t i = 0; i < secret.size(); ++i) {
    secret[i] = static_cast<std::uint8_t>(hash_text(text, 1 + i / 8) >> (8 * (i % 8)));
  }
  return secret;
}

}  // namespace accl::bootstrap
