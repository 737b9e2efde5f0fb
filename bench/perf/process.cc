#include "bench/perf/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <sstream>
#include <utility>

#include "accl/base/error.h"
#include "accl/base/units.h"

namespace accl::perf {
namespace {

std::string name_of_entry(const std::string& entry) { return entry.substr(0, entry.find('=') + 1); }

std::vector<std::string> merged_environment(const std::vector<std::string>& changes) {
  std::vector<std::string> result = changes;
  for (char** at = environ; *at != nullptr; ++at) {
    const std::string entry = *at;
    bool replaced = false;
    for (const std::string& change : changes) {
      replaced |= entry.starts_with(name_of_entry(change));
    }
    if (!replaced) result.push_back(entry);
  }
  return result;
}

// glibc 2.36 declares pidfd_open without C linkage.
int open_pidfd(pid_t pid) { return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)); }

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

// Runs in the child, between fork and exec, where only system calls are allowed.
[[noreturn]] void become(const Program& program, pid_t parent, char* const* arguments,
                         char* const* environment) {
  ::prctl(PR_SET_PDEATHSIG, program.death_signal);
  if (::getppid() != parent) ::_exit(Process::exec_failed);  // It died before the line above.
  if (program.inherited >= 0) ::fcntl(program.inherited, F_SETFD, 0);
  if (program.output >= 0) {
    const int nothing = ::open("/dev/null", O_RDONLY);
    ::dup2(nothing, STDIN_FILENO);
    ::close(nothing);
    ::dup2(program.output, STDOUT_FILENO);
    ::dup2(program.errors >= 0 ? program.errors : program.output, STDERR_FILENO);
  }
  ::execve(program.path.c_str(), arguments, environment);
  ::_exit(Process::exec_failed);
}

}  // namespace

Process Process::start(const Program& program) {
  std::vector<std::string> arguments = program.arguments;
  std::vector<std::string> environment = merged_environment(program.environment);
  const std::vector<char*> argument_pointers = pointers(arguments);
  const std::vector<char*> environment_pointers = pointers(environment);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) fail_system("starting " + program.path, errno);
  if (pid == 0) become(program, parent, argument_pointers.data(), environment_pointers.data());
  Process process(pid, Fd(open_pidfd(pid)));
  if (!process.fd_) fail_system("watching " + program.path, errno);
  return process;
}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), fd_(std::move(other.fd_)), status_(other.status_) {}

Process::~Process() {
  if (pid_ < 0 || status()) return;
  kill(SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

std::optional<int> Process::status() {
  int status = 0;
  if (!status_ && ::waitpid(pid_, &status, WNOHANG) == pid_) status_ = status;
  return status_;
}

std::optional<int> Process::wait(const Deadline& deadline) {
  pollfd wait{fd_.get(), POLLIN, 0};
  while (!status() && !deadline.passed()) ::poll(&wait, 1, deadline.left_ms());
  return status();
}

void Process::kill(int signal) {
  if (!status()) ::kill(pid_, signal);
}

std::string find_program(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    std::istringstream folders(environment_text("PATH"));
    std::string folder;
    while (std::getline(folders, folder, ':')) {
      const std::string path = folder + "/" + name;
      if (::access(path.c_str(), X_OK) == 0) return path;
    }
  }
  return {};
}

}  // namespace accl::perf
