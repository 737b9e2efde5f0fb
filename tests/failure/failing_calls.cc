// failing_calls.cc - a shared object for LD_PRELOAD that makes one system call fail: the k-th of a
// name, in one rank that accl-perf started. ACCL_FAIL says which: "RANK NAME K ERRNO".
#include <dlfcn.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

struct Wish {
  char name[32] = "";
  int k = 0, error = 0;
};

// accl-perf tells each rank its number in ACCL_PERF_SEAT, and takes the variable away later.
Wish read_wish() {
  Wish wish;
  int rank = -1, seat = -2;
  const char* const text = std::getenv("ACCL_FAIL");
  const char* const place = std::getenv("ACCL_PERF_SEAT");
  const int found =
      text == nullptr ? 0
                      : std::sscanf(text, "%d %31s %d %d", &rank, wish.name, &wish.k, &wish.error);
  if (place == nullptr || std::sscanf(place, "%d", &seat) != 1 || seat != rank || found != 4) {
    wish.name[0] = '\0';
  }
  return wish;
}

const Wish wish = read_wish();
std::atomic<int> calls{0};

// Whether this call is the one; errno is set then.
bool must_fail(const char* name) {
  if (std::strcmp(name, wish.name) != 0 || ++calls != wish.k) return false;
  errno = wish.error;
  return true;
}

template <class Function>
Function real(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

// Fails, or calls the function that the program would have got.
template <class Result, class... Arguments>
Result call(const char* name, Result failure, Arguments... arguments) {
  if (must_fail(name)) return failure;
  return real<Result (*)(Arguments...)>(name)(arguments...);
}

}  // namespace

extern "C" {

#pragma GCC visibility push(default)

int socket(int domain, int type, int protocol) noexcept {
  return call("socket", -1, domain, type, protocol);
}
int bind(int fd, const sockaddr* address, socklen_t bytes) noexcept {
  return call("bind", -1, fd, address, bytes);
}
int listen(int fd, int backlog) noexcept { return call("listen", -1, fd, backlog); }
int connect(int fd, const sockaddr* address, socklen_t bytes) {
  return call("connect", -1, fd, address, bytes);
}
int accept4(int fd, sockaddr* address, socklen_t* bytes, int flags) {
  return call("accept4", -1, fd, address, bytes, flags);
}
int getsockname(int fd, sockaddr* address, socklen_t* bytes) noexcept {
  return call("getsockname", -1, fd, address, bytes);
}
int setsockopt(int fd, int level, int name, const void* value, socklen_t bytes) noexcept {
  return call("setsockopt", -1, fd, level, name, value, bytes);
}
ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  return call("sendmsg", ssize_t{-1}, fd, message, flags);
}
ssize_t recvmsg(int fd, msghdr* message, int flags) {
  return call("recvmsg", ssize_t{-1}, fd, message, flags);
}
int epoll_create1(int flags) noexcept { return call("epoll_create1", -1, flags); }
// What is watched already can be watched otherwise without any new resource.
int epoll_ctl(int set, int operation, int fd, epoll_event* event) noexcept {
  if (operation != EPOLL_CTL_ADD) {
    return real<decltype(&epoll_ctl)>("epoll_ctl")(set, operation, fd, event);
  }
  return call("epoll_ctl", -1, set, operation, fd, event);
}
int eventfd(unsigned count, int flags) noexcept { return call("eventfd", -1, count, flags); }
int memfd_create(const char* name, unsigned flags) noexcept {
  return call("memfd_create", -1, name, flags);
}
int ftruncate(int fd, off_t bytes) noexcept { return call("ftruncate", -1, fd, bytes); }
ssize_t getrandom(void* to, std::size_t bytes, unsigned flags) {
  return call("getrandom", ssize_t{-1}, to, bytes, flags);
}
void* mmap(void* at, std::size_t bytes, int protection, int flags, int fd, off_t offset) noexcept {
  return call("mmap", MAP_FAILED, at, bytes, protection, flags, fd, offset);
}

#pragma GCC visibility pop
}
