// invocation.h - runs a program and keeps what it said.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "bench/perf/process.h"

namespace accl::perf {

struct Outcome {
  int code = -1;  // Exit code; 128 + signal where it was killed; -1 where it did not end in time.
  std::string out, err;
};

// A program under way, whose stdout and stderr go to files of its own.
class Invocation {
 public:
  explicit Invocation(const std::vector<std::string>& words,
                      const std::vector<std::string>& environment = {});

  pid_t pid() const { return process_.pid(); }
  // What it said on stdout so far.
  std::string out_so_far() const;
  // Kills it after `patience`.
  Outcome wait(std::chrono::milliseconds patience = std::chrono::seconds(60));

 private:
  Fd out_, err_;
  Process process_;
};

// accl-perf with these arguments, until it ends. Its path is in the variable ACCL_PERF.
Outcome run_perf(const std::vector<std::string>& arguments,
                 const std::vector<std::string>& environment = {});
std::vector<std::string> perf_words(const std::vector<std::string>& arguments);

// A name that does not exist yet, in a folder that is removed with its content.
class Scratch {
 public:
  Scratch();
  ~Scratch();
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::string write(const std::string& name, const std::string& text) const;
  std::vector<std::string> names() const;

 private:
  std::string folder_;
};

std::vector<std::string> split(const std::string& text, char separator);
std::string read_whole(const std::string& path);

}  // namespace accl::perf
