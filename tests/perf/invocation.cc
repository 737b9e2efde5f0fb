#include "tests/perf/invocation.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "accl/base/error.h"
#include "accl/base/units.h"

namespace accl::perf {
namespace {

Fd memory_file(const char* name) {
  Fd file(::memfd_create(name, MFD_CLOEXEC));
  if (!file) fail_system(name, errno);
  return file;
}

std::string read_all(const Fd& file) {
  std::string text;
  char part[4096];
  ssize_t got = 0;
  while ((got = ::pread(file.get(), part, sizeof part, static_cast<off_t>(text.size()))) > 0) {
    text.append(part, static_cast<std::size_t>(got));
  }
  return text;
}

Process start(const std::vector<std::string>& words, const std::vector<std::string>& environment,
              const Fd& out, const Fd& err) {
  Program program;
  program.path = words.front();
  program.arguments = words;
  program.environment = environment;
  program.output = out.get();
  program.errors = err.get();
  return Process::start(program);
}

}  // namespace

Invocation::Invocation(const std::vector<std::string>& words,
                       const std::vector<std::string>& environment)
    : out_(memory_file("out")),
      err_(memory_file("err")),
      process_(start(words, environment, out_, err_)) {}

std::string Invocation::out_so_far() const { return read_all(out_); }

Outcome Invocation::wait(std::chrono::milliseconds patience) {
  Outcome outcome;
  const std::optional<int> status = process_.wait(Deadline(patience));
  if (status) {
    outcome.code = WIFEXITED(*status) ? WEXITSTATUS(*status) : 128 + WTERMSIG(*status);
  }
  process_.kill(SIGKILL);
  outcome.out = read_all(out_);
  outcome.err = read_all(err_);
  return outcome;
}

std::vector<std::string> perf_words(const std::vector<std::string>& arguments) {
  std::vector<std::string> words{environment_text("ACCL_PERF")};
  if (words.front().empty()) {
    fail(ErrorKind::invalid_usage, "set ACCL_PERF to the path of accl-perf");
  }
  words.insert(words.end(), arguments.begin(), arguments.end());
  return words;
}

Outcome run_perf(const std::vector<std::string>& arguments,
                 const std::vector<std::string>& environment) {
  return Invocation(perf_words(arguments), environment).wait();
}

Scratch::Scratch() : folder_("/tmp/accl-perf-test-XXXXXX") {
  if (::mkdtemp(folder_.data()) == nullptr) fail_system("a folder in /tmp", errno);
}

Scratch::~Scratch() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

std::string Scratch::write(const std::string& name, const std::string& text) const {
  std::ofstream(path(name)) << text;
  return path(name);
}

std::vector<std::string> Scratch::names() const {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
    names.push_back(entry.path().filename());
  }
  std::ranges::sort(names);
  return names;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

std::string read_whole(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace accl::perf
