#include "accl/base/log.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <thread>
#include <vector>

namespace accl {
namespace {

using Settings = std::map<std::string, std::string>;

// The log reads its settings once per process, so every case logs in a process of its own.
class Log : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/accl-log-test-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern), nullptr);
    folder_ = pattern;
  }

  void TearDown() override { std::filesystem::remove_all(folder_); }

  // Runs `action` in a child with these variables; its stderr goes to the file "stderr".
  pid_t run(const Settings& settings, const std::function<void()>& action) const {
    const pid_t child = ::fork();
    if (child == 0) {
      for (const auto& [name, value] : settings) ::setenv(name.c_str(), value.c_str(), 1);
      const bool redirected = std::freopen((folder_ / "stderr").c_str(), "w", stderr) != nullptr;
      if (redirected) action();
      std::fflush(nullptr);
      ::_exit(redirected ? 0 : 1);
    }
    int status = -1;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    return child;
  }

  std::vector<std::string> lines_of(const std::string& file) const {
    std::ifstream stream(folder_ / file);
    EXPECT_TRUE(stream.is_open()) << file;
    std::vector<std::string> lines;
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return lines;
  }

  std::filesystem::path folder_;
};

void log_every_level() {
  set_log_name("rank 3");
  log(LogLevel::error, "broke {}", 1);
  log(LogLevel::warning, "odd {}", 2);
  log(LogLevel::info, "note {}", 3);
  log(LogLevel::trace, "step {}", 4);
}

TEST_F(Log, WritesWarningsAndErrorsToStderrUnlessAsked) {
  run({{"ACCL_DEBUG", ""}, {"ACCL_DEBUG_FILE", ""}}, log_every_level);
  EXPECT_EQ(lines_of("stderr"), (std::vector<std::string>{"accl[rank 3] error: broke 1",
                                                          "accl[rank 3] warning: odd 2"}));
}

TEST_F(Log, WritesAsMuchAsTheLevelAsksFor) {
  const std::map<std::string, std::size_t> expected{
      {"error", 1}, {"warning", 2}, {"info", 3}, {"trace", 4}, {"nonsense", 2}};
  for (const auto& [level, count] : expected) {
    run({{"ACCL_DEBUG", level}, {"ACCL_DEBUG_FILE", ""}}, log_every_level);
    EXPECT_EQ(lines_of("stderr").size(), count) << level;
  }
}

TEST_F(Log, NamesItsFileAfterHostAndProcess) {
  const pid_t child = run(
      {{"ACCL_DEBUG", "trace"}, {"ACCL_DEBUG_FILE", (folder_ / "log-%h-%p-100%%.txt").string()}},
      log_every_level);
  char host[256] = "";
  ASSERT_EQ(::gethostname(host, sizeof host), 0);
  const auto lines = lines_of(fmt::format("log-{}-{}-100%.txt", host, child));
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_EQ(lines.back(), "accl[rank 3] trace: step 4");
  EXPECT_TRUE(lines_of("stderr").empty());
}

TEST_F(Log, FallsBackToStderrWhereTheFileCannotBe) {
  std::ofstream(folder_ / "plain").put('x');
  run({{"ACCL_DEBUG", "info"}, {"ACCL_DEBUG_FILE", (folder_ / "plain" / "file").string()}},
      log_every_level);
  EXPECT_EQ(lines_of("stderr").size(), 3U);
}

TEST_F(Log, IsNamedAfterTheProcessUntilTheRankIsKnown) {
  const pid_t child = run({{"ACCL_DEBUG_FILE", ""}}, [] { log(LogLevel::error, "early"); });
  EXPECT_EQ(lines_of("stderr"),
            std::vector<std::string>{fmt::format("accl[pid {}] error: early", child)});
}

constexpr int writers = 8, lines_each = 100;

void log_from_many_threads() {
  const auto write = [](int writer) {
    for (int line = 0; line < lines_each; ++line) log(LogLevel::error, "{}/{}", writer, line);
  };
  std::vector<std::jthread> threads;
  for (int writer = 0; writer < writers; ++writer) threads.emplace_back(write, writer);
}

TEST_F(Log, KeepsTheLinesOfManyThreadsWhole) {
  run({{"ACCL_DEBUG_FILE", (folder_ / "log").string()}}, log_from_many_threads);
  const auto lines = lines_of("log");
  std::set<std::string> texts;
  for (const std::string& line : lines) texts.insert(line.substr(line.rfind(' ') + 1));
  EXPECT_EQ(lines.size(), std::size_t{writers * lines_each});
  EXPECT_EQ(texts.size(), std::size_t{writers * lines_each});
  EXPECT_TRUE(texts.contains("7/99"));
}

TEST_F(Log, DoesNotLeaveItsFileOpenInProgramsThatAreStarted) {
  const std::string log_file = (folder_ / "log").string();
  run({{"ACCL_DEBUG_FILE", log_file}}, [this] {
    log(LogLevel::error, "opened");
    const std::string command =
        fmt::format("ls -l /proc/self/fd > {}", (folder_ / "open").string());
    ::_exit(std::system(command.c_str()));
  });
  EXPECT_EQ(lines_of("log").size(), 1U);
  for (const std::string& line : lines_of("open")) {
    EXPECT_EQ(line.find(log_file), std::string::npos) << line;
  }
}

}  // namespace
}  // namespace accl
